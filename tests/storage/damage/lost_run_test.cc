// SPDX-License-Identifier: Apache-2.0
#include "storage/log/lost_ranges.h"
#include "tests/storage/damage/killed_store.h"

#include <filesystem>
#include <future>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

using Runs = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// A store of 40 messages of which some are quarantined: 0 to 1, 10, 20 to 22 as ranges of their
/// own, 38 to 39, the end of the queue.
fs::path with_losses(const Killed& killed) {
    const fs::path path = killed.copy();
    const auto files = make_posix_file_system();
    LostRanges ranges(*files, path / "lost");
    for (const auto& [from, last] : Runs{{0, 1}, {10, 10}, {20, 20}, {21, 22}, {38, 39}}) {
        REQUIRE(ranges.add({killed.places[static_cast<std::size_t>(from)].first,
                            killed.places[static_cast<std::size_t>(last)].end}));
    }
    return path;
}

const Runs kExpected{{0, 2}, {10, 11}, {20, 23}, {38, 40}};

/// Reads the queue from its start on by `read`: what is told as lost, and nothing else left out.
template <class Read>
Runs lost_runs(const Queue& queue, Read read) {
    Runs runs;
    QueueOffset at = queue.min();
    for (;;) {
        const ReadResult result = read(ReadRequest{.from = at});
        if (result.status == ReadStatus::kAtEnd) {
            CHECK(at == queue.max());
            return runs;
        }
        if (result.status == ReadStatus::kCorrupt) {
            CHECK(result.count == 0);
            CHECK(result.runs.empty());
            runs.push_back({result.lost_from.value, result.next.value});
        } else {
            REQUIRE(result.status == ReadStatus::kFound);
            CHECK(result.next == at + static_cast<std::int64_t>(result.count));
        }
        REQUIRE(result.next > at);
        at = result.next;
    }
}

Runs hot_runs(StoreFixture& at) {
    return lost_runs(at.queue("t"), [&](const ReadRequest& request) {
        return at.store->read(at.queue("t"), request);
    });
}

Runs cold_runs(StoreFixture& at) {
    return lost_runs(at.queue("t"), [&](const ReadRequest& request) {
        ColdRequest cold;
        cold.queue = &at.queue("t");
        cold.units = request;
        auto done = std::make_shared<std::promise<Result<ReadResult>>>();
        REQUIRE(at.store->read_cold(std::move(cold), [done](Result<ReadResult> result) {
            done->set_value(std::move(result));
        }));
        Result<ReadResult> result = done->get_future().get();
        REQUIRE(result);
        return std::move(result).value();
    });
}

TEST_SUITE("storage/lost_runs") {
    TEST_CASE("a read tells each run of lost messages whole, once, and nothing that is there") {
        const Killed killed(40, true, 900, true);
        StoreFixture at(with_losses(killed));
        at.open();
        CHECK(hot_runs(at) == kExpected);
        CHECK(cold_runs(at) == kExpected);
    }

    TEST_CASE("lost messages that have no units any more are told like the others") {
        const Killed killed(40, true, 900, true);
        const fs::path path = with_losses(killed);
        for (const char* part : {"consumequeue", "index", "checkpoint"}) {
            fs::remove_all(path / part);
        }
        StoreFixture at(path);
        at.open();
        CHECK(hot_runs(at) == kExpected);
        CHECK(cold_runs(at) == kExpected);
    }

    TEST_CASE("a read from amid lost messages tells those from there on") {
        const Killed killed(40, true, 900, true);
        StoreFixture at(with_losses(killed));
        at.open();
        const ReadResult result = at.store->read(at.queue("t"), {.from = QueueOffset(21)});
        CHECK(result.status == ReadStatus::kCorrupt);
        CHECK(result.lost_from == QueueOffset(21));
        CHECK(result.next == QueueOffset(23));
    }
}

}  // namespace
}  // namespace gantry::storage
