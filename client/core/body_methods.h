// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace gantry::client {

/// How a compressed body was compressed, in the bits of sysFlag that kMethodMask covers. Old stock
/// clients know zlib only, and say nothing. Source: docs/formats/record.md.
inline constexpr std::int32_t kMethodMask = 0x700;
inline constexpr std::int32_t kMethodZlibOld = 0x000;
inline constexpr std::int32_t kMethodLz4 = 0x100;   ///< a frame
inline constexpr std::int32_t kMethodZstd = 0x200;  ///< a frame
inline constexpr std::int32_t kMethodZlib = 0x300;

}  // namespace gantry::client
