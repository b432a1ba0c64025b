// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/epochs.h"

#include "protocol/wire/state.pb.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::storage {
namespace {

EpochStart start(std::int64_t epoch, std::int64_t at, std::uint64_t id = 1) {
    return {epoch, id, LogOffset(at)};
}

std::int64_t common(const EpochList& mine,
                    std::int64_t my_end,
                    const EpochList& theirs,
                    std::int64_t their_end) {
    const auto end = common_end(mine, LogOffset(my_end), theirs, LogOffset(their_end));
    const auto back = common_end(theirs, LogOffset(their_end), mine, LogOffset(my_end));
    CHECK(end == back);
    return end ? end->value : -1;
}

TEST_SUITE("storage/replica/epochs") {
    TEST_CASE("two logs hold the same up to the end of their newest common epoch") {
        const EpochList one{start(1, 0)};
        const EpochList two{start(1, 0), start(2, 100)};
        CHECK(common(one, 50, one, 80) == 50);
        CHECK(common(one, 150, two, 200) == 100);
        CHECK(common(one, 70, two, 200) == 70);
        CHECK(common(two, 150, two, 120) == 120);
        const EpochList other{start(1, 0), start(2, 100, 5)};
        CHECK(common(two, 150, other, 200) == 100);
        const EpochList forked{start(1, 0), start(3, 90)};
        CHECK(common(two, 150, forked, 200) == 90);
        const EpochList later{start(1, 0), start(2, 100), start(4, 130)};
        CHECK(common(two, 150, later, 300) == 130);
        CHECK(common({}, 10, one, 10) == -1);
        CHECK(common({}, 0, {}, 0) == -1);
        CHECK(common({start(1, 0, 7)}, 10, one, 10) == -1);
    }

    TEST_CASE("an epoch in the log is as documented") {
        wire::StateRecord record;
        wire::EpochPut& put = *record.add_changes()->mutable_epochput();
        put.set_epoch(7);
        put.set_id(0x0102030405060708ULL);
        put.set_member(2);
        put.set_start(4'096);
        const std::string wanted(
            "\x0a\x13\xf2\x01\x10\x08\x07\x11\x08\x07\x06\x05\x04\x03\x02\x01"
            "\x18\x02\x28\x80\x20",
            21);
        CHECK(record.SerializeAsString() == wanted);
    }

    TEST_CASE("each byte is of the epoch that began last") {
        const EpochList two{start(3, 10), start(5, 100)};
        CHECK(newest_epoch({}) == 0);
        CHECK(newest_epoch(two) == 5);
        CHECK(epoch_at(two, LogOffset(9)) == 0);
        CHECK(epoch_at(two, LogOffset(10)) == 3);
        CHECK(epoch_at(two, LogOffset(99)) == 3);
        CHECK(epoch_at(two, LogOffset(100)) == 5);
    }
}

}  // namespace
}  // namespace gantry::storage
