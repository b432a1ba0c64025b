// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"
#include "protocol/wire/frame.h"

#include <cstddef>
#include <cstdint>

namespace gantry::wire {

class RegisterBrokerBody;

/// What a compressed registration may grow to.
inline constexpr std::size_t kRegisterBytesMax = std::size_t{16} << 20U;

/// The body of a registration (103) in any form: Protocol Buffers in codec 2; from stock brokers
/// JSON or zlib-compressed binary, told apart by the first byte, since brokers announce it wrongly.
/// An empty body, which only renews a registration, leaves `body` empty. `crc` is the request's
/// bodyCrc32, 0: not checked.
///
///   inflated: i32 length, DataVersion JSON | i32 count | count x { i32 length,
///   "topic readQueues writeQueues perm filterType ..." } | i32 length, filter servers JSON | ...
///
/// kCorrupt: wrong CRC, not parseable, larger than kRegisterBytesMax.
Status decode_register_body(Codec codec, Bytes bytes, std::uint32_t crc, RegisterBrokerBody& body);

}  // namespace gantry::wire
