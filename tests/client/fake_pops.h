// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/pop_consumer.h"
#include "protocol/wire/message.pb.h"
#include "tests/client/fake_cluster.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::client::test {

/// The pops of a fake broker: answers them with what the test gives, in the order in which they
/// came, and notes what is settled. The receipt of the nth answer (from 0) is kFirstReceipt + n.
///
/// Threads   the test's; each method goes to the broker's loop by itself. The hook runs there.
/// Lifetime  the cluster outlives it.
class FakePops {
public:
    static constexpr std::int64_t kFirstReceipt = 1'000;

    /// One message to give.
    struct Given {
        std::string body;
        std::string tag = {};
        bool is_damaged = false;
    };

    /// What was said of a run of messages.
    struct Settled {
        std::int32_t queue = 0;
        std::int64_t receipt = 0;
        std::int64_t from = 0;
        std::int64_t count = 0;
        std::int64_t invisible_ms = -1;  ///< -1: done
        bool is_undelivered = false;

        bool operator==(const Settled&) const = default;
    };

    explicit FakePops(FakeCluster& cluster, std::size_t broker = 0);

    /// Gives messages of `topic`'s queue from `offset` on to the next pop, or the one that waits
    /// for longest.
    void give(const std::string& topic,
              std::int32_t queue,
              std::int64_t offset,
              const std::vector<Given>& messages);
    /// Answers each pop at once that there is nothing.
    void answer_empty(bool does);
    /// What is done with the nth request that settles (from 0): kStore, kRefuse, kCut or kHold.
    void on_settle(std::function<SendAction(int)> action);

    std::vector<wire::PopMessageRequest> pops() const;
    std::size_t waiting() const;
    /// What was taken, in order.
    std::vector<Settled> settled() const;
    int settle_requests() const;

private:
    struct State {
        std::deque<std::string> answers;
        std::deque<net::ReplyTo> waiting;
        std::vector<wire::PopMessageRequest> pops;
        std::vector<Settled> settled;
        std::function<SendAction(int)> on_settle;
        std::int64_t next_receipt = kFirstReceipt;
        int settle_requests = 0;
        bool answers_empty = false;
    };

    static bool take(State& state, FakeBroker& broker, const net::Received& frame);
    static void take_settles(State& state, const net::Received& frame);
    static void answer_next(State& state, FakeBroker& broker);

    FakeCluster& cluster_;
    FakeBroker& broker_;
    std::shared_ptr<State> state_ = std::make_shared<State>();  // the broker's loop
};

}  // namespace gantry::client::test
