// SPDX-License-Identifier: Apache-2.0
// Bodies in every codec. What was accepted is written as fastjson's and as standard JSON, and must
// come back the same.
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/register_body.h"
#include "protocol/wire/topic.pb.h"
#include "tests/fuzz/fuzz.h"

using namespace gantry;
using namespace gantry::wire;

namespace {

constexpr Codec kCodecs[] = {Codec::kJson, Codec::kBinary, Codec::kNative};

template <class Body>
void check_round_trip(Codec codec, Bytes bytes) {
    Body body;
    const Status decoded = decode_body(codec, bytes, body);
    if (!decoded) {
        GANTRY_ASSERT(decoded.error().code == Errc::kCorrupt);
        return;
    }
    for (const bool standard : {false, true}) {
        std::string text;
        append_body(text, Codec::kJson, body, standard);
        Body copy;
        const Status again = decode_body(Codec::kJson, as_bytes(text), copy);
        GANTRY_ASSERT(again);
        std::string text_again;
        append_body(text_again, Codec::kJson, copy, standard);
        GANTRY_ASSERT(text == text_again);
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    Bytes input = fuzz_input(data, size);
    const Codec codec = kCodecs[take_choice(input) % std::size(kCodecs)];
    check_round_trip<HeartbeatData>(codec, input);
    check_round_trip<TopicRouteData>(codec, input);
    check_round_trip<ClusterInfo>(codec, input);
    check_round_trip<TopicStatsTable>(codec, input);
    check_round_trip<KvTable>(codec, input);
    RegisterBrokerBody body;
    const Status registered = decode_register_body(codec, input, 0, body);
    GANTRY_ASSERT(registered || registered.error().code == Errc::kCorrupt);
    return 0;
}
