// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/header.h"

#include "protocol/wire/codec/binary_header.h"
#include "protocol/wire/codec/ext_fields.h"
#include "protocol/wire/codec/hot_fields.h"
#include "protocol/wire/codec/json_header.h"
#include "protocol/wire/codec/native_header.h"
#include "protocol/wire/codec/schema_plan.h"
#include "protocol/wire/message.pb.h"

#include <array>
#include <typeinfo>

namespace gantry::wire {
namespace {

using google::protobuf::Message;

void reset(Header& header, Codec codec) noexcept {
    header.codec = codec;
    header.code = 0;
    header.language = Language::kUnknown;
    header.version = 0;
    header.opaque = 0;
    header.has_opaque = false;
    header.is_response = false;
    header.is_oneway = false;
    header.remark = {};
    header.ext.clear();
    header.fields = {};
    header.scratch.clear();
}

Status native_fields(Bytes bytes, Message& fields) {
    silence_protobuf_log();
    if (!fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error{
            Errc::kRefused,
            "fields of " + std::to_string(bytes.size()) + " B are no " + fields.GetTypeName()};
    }
    // The one request of every message has no required fields: spare it the look-up.
    if (typeid(fields) == typeid(SendRecordsRequest)) {
        return ok();
    }
    const std::string_view missing = missing_field(plan_of(*fields.GetDescriptor()), fields);
    if (!missing.empty()) {
        return missing_field_error(missing);
    }
    return ok();
}

}  // namespace

std::string_view name_of(Language language) noexcept {
    static constexpr std::array<std::string_view, 14> kNames = {"JAVA",
                                                                "CPP",
                                                                "DOTNET",
                                                                "PYTHON",
                                                                "DELPHI",
                                                                "ERLANG",
                                                                "RUBY",
                                                                "OTHER",
                                                                "HTTP",
                                                                "GO",
                                                                "PHP",
                                                                "OMS",
                                                                "RUST",
                                                                "NODE_JS"};
    const auto index = static_cast<std::size_t>(language);
    return index < kNames.size() ? kNames[index] : std::string_view("OTHER");
}

Status decode_header(const FrameView& frame, Header& header) {
    reset(header, frame.codec);
    switch (frame.codec) {
        case Codec::kJson:
            return decode_json_header(frame.header, header);
        case Codec::kBinary:
            return decode_binary_header(frame.header, header);
        case Codec::kNative:
            break;
    }
    return decode_native_header(frame.header, header);
}

Status decode_fields(const Header& header, Message& fields) {
    if (header.codec == Codec::kNative) {
        return native_fields(header.fields, fields);
    }
    if (typeid(fields) == typeid(SendMessageRequest)) {
        return send_fields_from_ext(header.ext, static_cast<SendMessageRequest&>(fields));
    }
    if (typeid(fields) == typeid(PullMessageRequest)) {
        return pull_fields_from_ext(header.ext, static_cast<PullMessageRequest&>(fields));
    }
    return fields_from_ext(header.ext, fields);
}

void append_frame_head(std::string& out,
                       Codec codec,
                       const HeaderToSend& header,
                       std::size_t body_bytes) {
    switch (codec) {
        case Codec::kJson:
            return append_json_head(out, header, body_bytes);
        case Codec::kBinary:
            return append_binary_head(out, header, body_bytes);
        case Codec::kNative:
            break;
    }
    return append_native_head(out, header, body_bytes);
}

}  // namespace gantry::wire
