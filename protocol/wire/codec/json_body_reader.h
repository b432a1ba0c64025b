// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstddef>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace gantry::wire {

inline constexpr std::size_t kJsonObjectsMax = 1'000'000;

/// Fills a typed message from a JSON body: what append_json_body writes, and what fastjson would
/// take besides (see strict_json): unknown fields, nulls, numbers and booleans as strings, enum
/// numbers where the schema names them. kCorrupt: not JSON, a value of the wrong type, more than
/// kJsonObjectsMax objects; detail names the field.
Status read_json_body(std::string_view text, google::protobuf::Message& body);

}  // namespace gantry::wire
