// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace google::protobuf {
class Message;
}

namespace gantry::wire {

/// Appends `body` as fastjson prints the object it stands for: keys sorted, absent fields left out,
/// empty lists and maps kept, integer and object map keys bare. `standard`: map keys are strings,
/// as RFC 8259 wants; an object key becomes a string that holds its JSON.
void append_json_body(std::string& out, const google::protobuf::Message& body, bool standard);

}  // namespace gantry::wire
