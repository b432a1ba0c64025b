// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/header.h"

namespace gantry::wire {

/// RocketMQ's JSON header. Takes what its clients send: numbers and booleans among the extFields,
/// numbers as strings, the language as name or number, blanks around. Unescaped text goes to
/// Header::scratch. kCorrupt: not a JSON object, more than kExtFieldsMax extFields, nested deeper
/// than 32, a number out of range.
Status decode_json_header(Bytes bytes, Header& header);

/// Appends prefix and header of a frame in codec 0, keys in alphabetical order.
void append_json_head(std::string& out, const HeaderToSend& header, std::size_t body_bytes);

}  // namespace gantry::wire
