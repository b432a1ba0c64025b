// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"

#include <cstdint>

namespace gantry {

/// CRC-32 (IEEE, as in zlib) of `bytes`, continued from `previous` (0 to start). Carry-less
/// multiplication by libisal: several times faster than zlib's.
std::uint32_t crc32(Bytes bytes, std::uint32_t previous = 0) noexcept;

/// XXH3-64 of `bytes`, by the widest instruction set of this processor. The value does not depend
/// on the instruction set.
std::uint64_t xxh3(Bytes bytes) noexcept;

}  // namespace gantry
