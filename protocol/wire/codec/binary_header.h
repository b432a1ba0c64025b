// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/header.h"

namespace gantry::wire {

/// RocketMQ's binary header: Header::ext and ::remark are views into `bytes`. kCorrupt: lengths
/// that do not fill `bytes` exactly, or more than kExtFieldsMax entries.
///
///   i16 code | u8 language | i16 version | i32 opaque | i32 flag | i32 remarkLength | remark |
///   i32 extLength | { i16 nameLength | name | i32 valueLength | value } ...
Status decode_binary_header(Bytes bytes, Header& header);

/// Appends prefix and header of a frame in codec 1. A code beyond 16 bits is cut.
void append_binary_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes);

}  // namespace gantry::wire
