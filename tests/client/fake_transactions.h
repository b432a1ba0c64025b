// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/transaction_producer.h"
#include "protocol/wire/message.pb.h"
#include "tests/client/fake_cluster.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client::test {

/// The transactions of a fake broker: takes half messages and outcomes, and asks when the test
/// says.
///
/// Threads   the test's; each method goes to the broker's loop by itself. The hooks run there.
/// Lifetime  the cluster outlives it.
class FakeTransactions {
public:
    /// A half message as the broker saw it, and what became of it.
    struct Half {
        std::string id;
        std::string topic;
        std::string group;
        std::string body;
        std::string immunity;
        std::int32_t queue = 0;
        std::int32_t outcome = 0;  ///< 8 commit, 12 rollback, 0: open
        int words = 0;             ///< commits and rollbacks that came
        int from_check = 0;        ///< of them, answers to questions
    };

    explicit FakeTransactions(FakeCluster& cluster, std::size_t broker = 0);

    /// What is done with the nth half message (from 0), and with the nth word on one. kStore: taken
    /// and answered.
    void on_half(std::function<SendAction(int)> action);
    void on_end(std::function<SendAction(int)> action);

    std::vector<Half> halves() const;
    Half half(std::size_t index) const;
    int half_requests() const;
    /// Asks the group's producer about a half message; false when there is none.
    bool ask(std::size_t index);
    /// Whether the broker knows a producer of the group.
    bool has_producer(const std::string& group) const;

private:
    struct State {
        std::vector<Half> halves;
        std::vector<std::string> properties;
        std::function<SendAction(int)> on_half;
        std::function<SendAction(int)> on_end;
        int half_requests = 0;
        int ends = 0;
    };

    static bool take(State& state, const std::string& address, const net::Received& frame);
    static void take_half(State& state, const std::string& address, const net::Received& frame);
    static void take_end(State& state, const net::Received& frame);

    FakeCluster& cluster_;
    FakeBroker& broker_;
    std::shared_ptr<State> state_ = std::make_shared<State>();  // the broker's loop
};

}  // namespace gantry::client::test
