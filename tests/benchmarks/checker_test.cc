// SPDX-License-Identifier: Apache-2.0
#include "bench/checker.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::bench {
namespace {

Stamp stamp(std::uint32_t producer, std::uint64_t sequence, std::uint64_t run = 7) {
    Stamp s;
    s.producer = producer;
    s.run = run;
    s.sequence = sequence;
    return s;
}

}  // namespace

TEST_SUITE("benchmarks/checker") {
    const std::string kBroker = "b";

    TEST_CASE("a clean run has no findings and a checksum independent of the queue") {
        Checker one(7);
        Checker two(7);
        for (std::uint64_t i = 0; i < 200; ++i) {
            CHECK(one.take(kBroker, 0, static_cast<std::int64_t>(i), stamp(1, i)));
            CHECK(two.take(kBroker,
                           static_cast<std::int32_t>(i % 2),
                           static_cast<std::int64_t>(i / 2),
                           stamp(1, i)));
        }
        CHECK(one.distinct() == 200);
        CHECK(one.duplicates() == 0);
        CHECK(one.out_of_order() == 0);
        CHECK(one.offset_gaps() == 0);
        CHECK(one.checksum() == two.checksum());
    }

    TEST_CASE("a duplicate, a swap, a gap and a loss are each counted") {
        Checker checker(7);
        SequenceSet acked;
        for (std::uint64_t i = 0; i < 5; ++i) {
            acked.insert(i);
        }
        checker.take(kBroker, 0, 0, stamp(1, 0));
        checker.take(kBroker, 0, 1, stamp(1, 2));
        checker.take(kBroker, 0, 2, stamp(1, 1));  // behind 2
        checker.take(kBroker, 0, 2, stamp(1, 1));  // again
        checker.take(kBroker, 0, 5, stamp(1, 3));  // offsets 3 and 4 are missing
        CHECK(checker.distinct() == 4);
        CHECK(checker.duplicates() == 1);
        CHECK(checker.out_of_order() == 1);
        CHECK(checker.offset_gaps() == 1);
        CHECK(checker.lost(7, 1, acked) == 1);
        CHECK(checker.lost(7, 2, acked) == 5);
    }

    TEST_CASE("a resent block counts as duplicates, not as disorder") {
        Checker checker(7);
        std::int64_t offset = 0;
        for (const std::uint64_t i : {5U, 6U, 7U, 5U, 6U, 7U, 8U}) {
            checker.take(kBroker, 0, offset++, stamp(1, i));
        }
        CHECK(checker.duplicates() == 3);
        CHECK(checker.out_of_order() == 0);
    }

    TEST_CASE("messages of other runs are not counted") {
        Checker checker(7);
        CHECK_FALSE(checker.take(kBroker, 0, 0, stamp(1, 0, 8)));
        CHECK(checker.received() == 0);
    }

    TEST_CASE("a stamp survives the body, and a foreign body has none") {
        std::string body(64, 'x');
        write_stamp(body, stamp(3, 9));
        const auto read = read_stamp(body);
        REQUIRE(read);
        CHECK(read->sequence == 9);
        CHECK_FALSE(read_stamp(std::string(64, 'x')));
        CHECK_FALSE(read_stamp("short"));
    }
}

}  // namespace gantry::bench
