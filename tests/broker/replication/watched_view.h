// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "tests/harness/wait.h"
#include "tests/net/fixture.h"

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <utility>

namespace gantry::broker::test {

/// A member of group "g" with this number, whose store and process have random ids like these.
inline LiveMember member_number(std::int64_t member, std::uint64_t incarnation = 1) {
    return {.id = {.member = member, .storage = static_cast<std::uint64_t>(member) * 100},
            .replication_address = "127.0.0.1:" + std::to_string(member),
            .client_address = "127.0.0.1:" + std::to_string(member + 1'000),
            .epoch = 0,
            .log_end = 0,
            .incarnation = incarnation};
}

inline GroupState state_with(std::int64_t epoch, std::int64_t master) {
    return {.epoch = epoch,
            .master = master,
            .members = {member_number(master).id},
            .loss_accepted = false};
}

/// A coordinator on a loop, used from the test's thread: its newest view, and calls that wait.
class Seat {
public:
    Seat(net::test::LoopThread& loop, std::unique_ptr<Coordinator> coordinator)
        : loop_(loop), coordinator_(std::move(coordinator)) {}

    ~Seat() {
        loop_.run([this] { coordinator_.reset(); });
    }

    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    void start(const LiveMember& self) {
        loop_.run([&] {
            coordinator_->start(self, [this](const GroupView& view) {
                const std::lock_guard hold(mutex_);
                view_ = view;
                ++views_;
            });
        });
    }

    void announce(const LiveMember& self) {
        loop_.run([&] { coordinator_->announce(self); });
    }

    Result<std::uint64_t> swap(std::uint64_t revision, const GroupState& next) {
        std::promise<Result<std::uint64_t>> promise;
        auto future = promise.get_future();
        loop_.run([&] {
            coordinator_->swap(revision, next, [&](Result<std::uint64_t> outcome) {
                promise.set_value(std::move(outcome));
            });
        });
        return future.get();
    }

    SteadyTime lease_until() {
        return loop_.run([this] { return coordinator_->lease_until(); });
    }

    void stop() {
        std::promise<void> promise;
        auto future = promise.get_future();
        loop_.run([&] { coordinator_->stop([&] { promise.set_value(); }); });
        future.get();
    }

    GroupView view() {
        const std::lock_guard hold(mutex_);
        return view_;
    }

    bool wait_for(const std::function<bool(const GroupView&)>& condition,
                  std::chrono::milliseconds limit = std::chrono::seconds(20)) {
        return harness::wait_until(limit, [&] { return condition(view()); });
    }

    /// Members that the view has as living.
    bool wait_for_live(std::size_t count) {
        return wait_for(
            [&](const GroupView& seen) { return seen.is_current && seen.live.size() == count; });
    }

private:
    net::test::LoopThread& loop_;
    std::unique_ptr<Coordinator> coordinator_;
    std::mutex mutex_;
    GroupView view_;
    std::uint64_t views_ = 0;
};

}  // namespace gantry::broker::test
