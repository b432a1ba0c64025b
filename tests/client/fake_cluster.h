// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/message.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/server.h"
#include "tests/client/fake_broker.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace gantry::client::test {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

inline constexpr std::chrono::seconds kPatience{20};

/// Waits until `predicate` holds; false when it does not within the tests' patience.
template <class Predicate>
bool wait_until(Predicate predicate) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!predicate()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

/// The seed of a random test, printed; GANTRY_TEST_SEED replaces it.
std::uint64_t test_seed();

/// A nameserver in this process: routes that tests set, watches that a change answers.
class FakeNameserver final : public net::ConnectionHandler {
public:
    explicit FakeNameserver(net::EventLoop& loop);
    ~FakeNameserver() override;

    std::string address() const;

    /// Sets a route and tells who watches.
    void set_route(const std::string& topic, const wire::TopicRouteData& route);
    void remove_route(const std::string& topic);

    std::map<std::string, std::string> masters;                         ///< broker name to address
    std::map<std::string, std::map<std::int64_t, std::string>> slaves;  ///< by name and id
    std::string cluster = "cluster";
    bool is_silent = false;  ///< answers nothing
    bool supports_watch = true;
    std::uint64_t route_queries = 0;

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;

private:
    struct Watch {
        net::ReplyTo to;
        std::map<std::string, std::uint64_t> versions;
    };

    void answer_route(const net::Received& frame);
    void answer_cluster(const net::Received& frame);
    void answer_topics(const net::Received& frame);
    void watch(const net::Received& frame);
    bool try_answer(const Watch& watch);
    void changed(const std::string& topic);

    std::map<std::string, wire::TopicRouteData> routes_;
    std::map<std::string, std::uint64_t> versions_;
    std::vector<Watch> watches_;
    std::unique_ptr<net::Server> server_;
};

/// A nameserver and brokers in this process, on one loop thread.
///
/// Threads   the test's. State of nameserver and brokers only through run().
class FakeCluster {
public:
    explicit FakeCluster(int broker_count = 1);
    ~FakeCluster();
    FakeCluster(const FakeCluster&) = delete;
    FakeCluster& operator=(const FakeCluster&) = delete;

    /// Runs `work` in the loop's thread and gives back what it returns.
    template <class Work>
    auto run(Work work) -> decltype(work()) {
        std::promise<decltype(work())> promise;
        auto future = promise.get_future();
        REQUIRE(loop_->post([&work, &promise] {
            if constexpr (std::is_void_v<decltype(work())>) {
                work();
                promise.set_value();
            } else {
                promise.set_value(work());
            }
        }));
        return future.get();
    }

    FakeNameserver& nameserver() { return *nameserver_; }

    FakeBroker& broker(std::size_t index = 0) { return *brokers_.at(index); }

    std::size_t broker_count() const { return brokers_.size(); }

    /// The topic with as many queues on each broker.
    void create_topic(const std::string& topic, int queues, int perm = 6);
    /// Its route over the brokers of these indexes only.
    void route_topic(const std::string& topic,
                     int queues,
                     const std::vector<std::size_t>& brokers,
                     int perm = 6);

    /// Addresses of brokers of one name, by broker id.
    using Members = std::map<std::int64_t, std::string>;

    /// Its route over one broker name of these members.
    void route_group(const std::string& topic,
                     int queues,
                     const Members& members,
                     std::int64_t epoch);

    /// A client of this cluster.
    std::shared_ptr<Client> connect(Client::Options options = {});

    /// All messages of the topic, over all brokers and queues.
    std::size_t stored_count(const std::string& topic);

private:
    std::unique_ptr<net::EventLoop> loop_;
    std::unique_ptr<FakeNameserver> nameserver_;
    std::vector<std::unique_ptr<FakeBroker>> brokers_;
};

/// A message of that topic and body.
Message message_of(const std::string& topic, const std::string& body);

}  // namespace gantry::client::test
