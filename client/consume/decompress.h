// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <string>

namespace gantry::client {

/// The body of a message that its sender compressed; `sys_flag` names the method (zlib, LZ4 frame,
/// zstd frame). kCorrupt: it does not decompress, or to more than 64 MiB. kUnsupported: a method
/// that is none of these.
Result<std::string> decompress_body(Bytes body, std::int32_t sys_flag);

}  // namespace gantry::client
