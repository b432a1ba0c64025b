// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_body_reader.h"
#include "protocol/wire/codec/json_body_writer.h"
#include "protocol/wire/codec/schema_plan.h"
#include "protocol/wire/header.h"

#include <google/protobuf/message.h>

namespace gantry::wire {

void append_body(std::string& out,
                 Codec codec,
                 const google::protobuf::Message& body,
                 bool standard_json) {
    if (codec == Codec::kNative) {
        body.AppendToString(&out);
    } else {
        append_json_body(out, body, standard_json);
    }
}

Status decode_body(Codec codec, Bytes bytes, google::protobuf::Message& body) {
    if (codec != Codec::kNative) {
        return read_json_body(as_text(bytes), body);
    }
    silence_protobuf_log();
    if (!body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error{Errc::kCorrupt,
                     "body of " + std::to_string(bytes.size()) + " B is no " + body.GetTypeName()};
    }
    return ok();
}

}  // namespace gantry::wire
