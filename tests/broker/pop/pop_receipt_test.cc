// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_receipt.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::broker {

using storage::OffsetSpan;

namespace {

OffsetSpan span(std::int64_t from, std::int64_t end) {
    return {QueueOffset(from), QueueOffset(end)};
}

template <class T>
std::string why(const Result<T>& result) {
    return result ? "" : result.error().detail;
}

}  // namespace

TEST_SUITE("broker/pop_receipt") {
    TEST_CASE("a receipt is taken with and without the message's own offset") {
        for (const char* const text : {"100 1700000000000 60000 3 0 broker-a 2 105",
                                       "100 1700000000000 60000 3 0 broker-a 2"}) {
            const auto receipt = parse_receipt(text);
            REQUIRE(receipt);
            CHECK(receipt->pop_ms == 1'700'000'000'000);
            CHECK(receipt->queue_id == 2);
        }
    }

    TEST_CASE("a receipt that is none is refused by field") {
        CHECK(why(parse_receipt("")) == "extraInfo has 1 fields < 7");
        CHECK(why(parse_receipt("1 2 3 4 5 6")) == "extraInfo has 6 fields < 7");
        CHECK(why(parse_receipt("1 x 3 4 5 b 0 1")) == "extraInfo: popTime 'x' is no number");
        CHECK(why(parse_receipt("1 2 3 4 5 b q 1")) == "extraInfo: queueId 'q' is no number");
        CHECK(why(parse_receipt("1 99999999999999999999 3 4 5 b 0")) ==
              "extraInfo: popTime '99999999999999999999' is no number");
    }

    TEST_CASE("offsets are written as stock clients read them") {
        CHECK(start_offset_info(false, 3, QueueOffset(17)) == "0 3 17");
        CHECK(start_offset_info(true, 0, QueueOffset(1)) == "1 0 1");
        CHECK(message_offset_info(false, 3, {span(17, 19), span(25, 26)}) == "0 3 17,18,25");
    }

    TEST_CASE("a bit set names offsets, lowest bit first") {
        const auto spans = parse_ack_bits("CQI=", QueueOffset(100));
        REQUIRE(spans);
        CHECK(*spans == std::vector<OffsetSpan>{span(100, 101), span(103, 104), span(109, 110)});
        const auto all = parse_ack_bits("////", QueueOffset(0));
        REQUIRE(all);
        CHECK(*all == std::vector<OffsetSpan>{span(0, 24)});
        CHECK(parse_ack_bits("", QueueOffset(0))->empty());
        CHECK(parse_ack_bits("AA==", QueueOffset(0))->empty());
    }

    TEST_CASE("a bit set that is none, or too long, is refused") {
        CHECK(why(parse_ack_bits("C Q=", QueueOffset(0))) ==
              "bit set: character 32 is none of base64");
        CHECK(why(parse_ack_bits(std::string(200'000, '/'), QueueOffset(0))) ==
              "bit set of 1200000 bits > 1048576");
    }
}

}  // namespace gantry::broker
