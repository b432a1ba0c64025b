// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"
#include "common/version.h"
#include "protocol/wire/codes.h"
#include "protocol/wire/frame.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class Message;
}

namespace gantry::wire {

/// The sender's programming language; the number travels in the binary codec, the name in JSON.
enum class Language : std::uint8_t {
    kJava,
    kCpp,
    kDotnet,
    kPython,
    kDelphi,
    kErlang,
    kRuby,
    kOther,
    kHttp,
    kGo,
    kPhp,
    kOms,
    kRust,
    kNodeJs,
    kUnknown = 255,
};

/// RocketMQ's name, as JSON shows it; "OTHER" for kUnknown.
std::string_view name_of(Language language) noexcept;

/// One entry of RocketMQ's extFields.
struct ExtField {
    std::string_view name;
    std::string_view value;
};

/// A decoded frame header. Reused from frame to frame to save allocations.
///
/// Lifetime  views point into the frame or into `scratch`: valid until the next decode into this
///           object, and no longer than the frame.
struct Header {
    Codec codec = Codec::kJson;
    std::int32_t code = 0;
    Language language = Language::kUnknown;
    std::int32_t version = 0;
    std::int32_t opaque = 0;
    bool has_opaque = false;  ///< an error reply can be addressed, even when decoding failed
    bool is_response = false;
    bool is_oneway = false;
    std::string_view remark;
    std::vector<ExtField> ext;  ///< codecs 0 and 1; on duplicate names the last one wins
    Bytes fields;               ///< codec 2: the serialised typed message
    std::string scratch;        ///< unescaped JSON strings

    RequestCode request() const noexcept { return static_cast<RequestCode>(code); }

    ResponseCode response() const noexcept { return static_cast<ResponseCode>(code); }
};

inline constexpr std::size_t kExtFieldsMax = 256;

/// Decodes the header of `frame` into `header`. kCorrupt: not parseable, a limit on the number or
/// size of fields exceeded; detail names what. Where an opaque could still be read it is set (see
/// has_opaque), so that an error reply can be addressed.
Status decode_header(const FrameView& frame, Header& header);

/// Fills a typed message from the header's fields, whichever codec they came in. Field names of the
/// schema are RocketMQ's extFields names; unknown ones are ignored. kRefused: a required field is
/// missing ("the custom field <queueId> is null"), or its text does not parse as the field's type.
Status decode_fields(const Header& header, google::protobuf::Message& fields);

/// What goes into a frame header. `fields` null: no extFields at all.
struct HeaderToSend {
    std::int32_t code = 0;
    std::int32_t opaque = 0;
    bool is_response = false;
    bool is_oneway = false;
    std::string_view remark = {};
    const google::protobuf::Message* fields = nullptr;
    bool short_names = false;  ///< V2 send: one-letter extFields names
    Language language = Language::kCpp;
    std::int32_t version = kRocketmqVersion;
};

/// Appends prefix and header of a frame whose body of `body_bytes` the caller sends behind it.
void append_frame_head(std::string& out,
                       Codec codec,
                       const HeaderToSend& header,
                       std::size_t body_bytes);

/// Appends the body form of a typed message: fastjson-compatible JSON for codecs 0 and 1 (integer
/// map keys bare unless `standard_json`), Protocol Buffers for codec 2.
void append_body(std::string& out,
                 Codec codec,
                 const google::protobuf::Message& body,
                 bool standard_json = false);

/// Parses a body into a typed message: what append_body writes, plus the liberties fastjson, Go's
/// and C++ clients take. kCorrupt: does not parse, or nested deeper than 32.
Status decode_body(Codec codec, Bytes bytes, google::protobuf::Message& body);

}  // namespace gantry::wire
