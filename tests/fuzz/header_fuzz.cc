// SPDX-License-Identifier: Apache-2.0
// A header of one of the codecs, translated to typed requests. What was accepted is encoded in
// every codec and must come back the same.
#include "protocol/wire/codec/ext_fields.h"
#include "protocol/wire/codec/hot_fields.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/topic.pb.h"
#include "tests/fuzz/fuzz.h"

using namespace gantry;
using namespace gantry::wire;

namespace {

constexpr Codec kCodecs[] = {Codec::kJson, Codec::kBinary, Codec::kNative};

template <class Fields>
void check_round_trip(const Header& header, bool short_names) {
    Fields fields;
    const Status decoded = decode_fields(header, fields);
    if (!decoded) {
        GANTRY_ASSERT(decoded.error().code == Errc::kRefused);
        return;
    }
    const std::string content = fields.SerializeAsString();
    for (const Codec codec : kCodecs) {
        std::string bytes;
        append_frame_head(bytes,
                          codec,
                          {.code = header.code & 0x7FFF,
                           .opaque = header.opaque,
                           .fields = &fields,
                           .short_names = short_names},
                          0);
        const auto frame = find_frame(as_bytes(bytes), {});
        if (!frame) {
            return;  // escapes have made it larger than a header may be
        }
        GANTRY_ASSERT(frame->has_value());
        Header again;
        const Status status = decode_header(**frame, again);
        GANTRY_ASSERT(status);
        GANTRY_ASSERT(again.opaque == header.opaque);
        Fields copy;
        const Status refilled = decode_fields(again, copy);
        GANTRY_ASSERT(refilled);
        GANTRY_ASSERT(copy.SerializeAsString() == content);
    }
}

template <class Fields, class Fast>
void check_fast(const Header& header, Fast fast) {
    Fields by_fast;
    Fields by_generic;
    const Status a = fast(header.ext, by_fast);
    const Status b = fields_from_ext(header.ext, by_generic);
    GANTRY_ASSERT(a.has_value() == b.has_value());
    GANTRY_ASSERT(!a || by_fast.SerializeAsString() == by_generic.SerializeAsString());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    Bytes input = fuzz_input(data, size);
    const std::size_t choice = take_choice(input);
    const Codec codec = kCodecs[choice % std::size(kCodecs)];
    const bool short_names = (choice & 0x80U) != 0;
    Header header;
    const Status decoded = decode_header({.codec = codec, .header = input, .body = {}}, header);
    if (!decoded) {
        GANTRY_ASSERT(decoded.error().code == Errc::kCorrupt);
        return 0;
    }
    GANTRY_ASSERT(header.ext.size() <= kExtFieldsMax);
    check_round_trip<SendMessageRequest>(header, short_names);
    check_round_trip<PullMessageRequest>(header, short_names);
    check_round_trip<QueryMessageRequest>(header, short_names);
    check_round_trip<CreateTopicRequest>(header, short_names);
    check_round_trip<RegisterBrokerRequest>(header, short_names);
    if (codec != Codec::kNative) {
        check_fast<SendMessageRequest>(header, send_fields_from_ext);
        check_fast<PullMessageRequest>(header, pull_fields_from_ext);
    }
    return 0;
}
