// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/repair.h"

#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <utility>

namespace gantry::broker {
namespace {

/// Answers of members, by address, given by a thread of its own or not at all.
struct Members {
    RepairSource::Callbacks callbacks() {
        return {
            [this] { return addresses; },
            [this](const std::string& address,
                   const wire::LogRangeRequest& request,
                   RepairSource::Done done) {
                asked.push_back(request);
                if (address == "silent") {
                    held = std::move(done);
                    return;
                }
                std::thread([address, request, done = std::move(done)] {
                    done(address == "broken"
                             ? Result<std::string>(Error{Errc::kCorrupt, "damaged here too"})
                             : Result<std::string>(std::string(
                                   static_cast<std::size_t>(request.length()), address.front())));
                }).detach();
            },
            [] {
                return storage::EpochList{{7, 70, LogOffset(700)}};
            }};
    }

    std::vector<std::string> addresses{"broken", "good"};
    std::vector<wire::LogRangeRequest> asked;
    RepairSource::Done held;
};

TEST_SUITE("broker/repair") {
    TEST_CASE("members are asked for a range, with this log's epochs, and answer or fail") {
        Members members;
        RepairSource source("group-a", members.callbacks());
        REQUIRE(source.copies() == 2);
        const auto broken = source.fetch(0, LogOffset(1'000), 16);
        REQUIRE_FALSE(broken.has_value());
        CHECK(broken.error().code == Errc::kCorrupt);
        const auto good = source.fetch(1, LogOffset(1'000), 16);
        REQUIRE(good.has_value());
        CHECK(*good == std::string(16, 'g'));
        REQUIRE(members.asked.size() == 2);
        const wire::LogRangeRequest& request = members.asked.back();
        CHECK(request.group() == "group-a");
        CHECK(request.offset() == 1'000);
        CHECK(request.length() == 16);
        REQUIRE(request.epochs_size() == 1);
        CHECK(request.epochs(0).epoch() == 7);
        CHECK(request.epochs(0).start() == 700);
        const auto none = source.fetch(2, LogOffset(0), 1);
        REQUIRE_FALSE(none.has_value());
        CHECK(none.error().code == Errc::kNotFound);
    }

    TEST_CASE("a member that does not answer is given up, and its answer dropped when it comes") {
        Members members;
        members.addresses = {"silent", "good"};
        RepairSource source("group-a", members.callbacks(), std::chrono::milliseconds(30));
        REQUIRE(source.copies() == 2);
        const auto late = source.fetch(0, LogOffset(0), 4);
        REQUIRE_FALSE(late.has_value());
        CHECK(late.error().code == Errc::kTimeout);
        members.held(std::string("late"));
        const auto good = source.fetch(1, LogOffset(0), 4);
        REQUIRE(good.has_value());
        CHECK(*good == "gggg");
    }

    TEST_CASE("a cancelled repair ends at once, and none begins after it") {
        Members members;
        members.addresses = {"silent"};
        RepairSource source("group-a", members.callbacks());
        REQUIRE(source.copies() == 1);
        std::atomic<bool> is_done{false};
        Errc code{};
        std::thread asker([&] {
            code = source.fetch(0, LogOffset(0), 4).error().code;
            is_done.store(true);
        });
        source.cancel();
        REQUIRE(harness::wait_until(std::chrono::seconds(5), [&] { return is_done.load(); }));
        asker.join();
        CHECK(code == Errc::kClosed);
        CHECK(source.fetch(0, LogOffset(0), 4).error().code == Errc::kClosed);
    }
}

}  // namespace
}  // namespace gantry::broker
