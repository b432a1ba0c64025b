// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"
#include "common/unique_fd.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <future>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace gantry::client::test {
namespace {

/// A port that refuses connections until it is opened; then takes bytes and answers none.
class LatePort {
public:
    LatePort() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const raw = reinterpret_cast<sockaddr*>(&address);
        REQUIRE(::bind(listener_.get(), raw, size) == 0);
        REQUIRE(::getsockname(listener_.get(), raw, &size) == 0);
        address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }

    const std::string& address() const { return address_; }

    void open() { REQUIRE(::listen(listener_.get(), 16) == 0); }

    /// What came so far; waits for a connection, then a little for bytes.
    const std::string& received() {
        constexpr int kWaitMs = 100;
        pollfd ready{peer_ ? peer_.get() : listener_.get(), POLLIN, 0};
        if (::poll(&ready, 1, kWaitMs) == 1) {
            if (!peer_) {
                peer_ = UniqueFd(::accept(listener_.get(), nullptr, nullptr));
            } else {
                std::string part(1 << 16U, '\0');
                const ssize_t count = ::recv(peer_.get(), part.data(), part.size(), 0);
                received_.append(part, 0, count > 0 ? static_cast<std::size_t>(count) : 0);
            }
        }
        return received_;
    }

private:
    UniqueFd listener_;
    UniqueFd peer_;
    std::string address_;
    std::string received_;
};

void route_to(FakeCluster& cluster, const std::string& topic, const std::string& address) {
    cluster.run([&] {
        wire::TopicRouteData route;
        auto& broker = *route.add_brokerdatas();
        broker.set_brokername("late");
        (*broker.mutable_brokeraddrs())[0] = address;
        auto& queues = *route.add_queuedatas();
        queues.set_brokername("late");
        queues.set_perm(6);
        queues.set_readqueuenums(1);
        queues.set_writequeuenums(1);
        cluster.nameserver().set_route(topic, route);
    });
}

std::string body_of(int number) {
    return "<message " + std::to_string(number) + ">";
}

}  // namespace

TEST_SUITE("client/producer order") {
    TEST_CASE("a message sent from a callback comes behind those other threads sent before it") {
        constexpr int kOthers = 10;
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        auto producer = Producer::create(cluster.connect(), {}).value();
        std::promise<void> called;
        std::promise<void> sent;
        std::promise<void> stored;
        REQUIRE(producer->send_async(message_of("T", "first"), [&](const auto&) {
            called.set_value();
            sent.get_future().wait();
            CHECK(producer->send_async(message_of("T", "last"),
                                       [&](const auto&) { stored.set_value(); }));
        }));
        called.get_future().wait();
        std::vector<std::string> expected{"first"};
        for (int i = 0; i < kOthers; ++i) {
            expected.push_back(body_of(i));
            CHECK(producer->send_async(message_of("T", expected.back()), [](const auto&) {}));
        }
        expected.emplace_back("last");
        sent.set_value();
        stored.get_future().wait();
        REQUIRE(producer->flush(kPatience));
        const std::vector<std::string> found = cluster.run([&] {
            std::vector<std::string> bodies;
            for (const StoredRecord& record : cluster.broker().queues[{"T", 0}]) {
                bodies.push_back(record.body);
            }
            return bodies;
        });
        CHECK(found == expected);
    }

    TEST_CASE("messages that wait for a broker longer than an attempt leave in their order") {
        constexpr int kMessages = 100;
        FakeCluster cluster;
        LatePort port;
        route_to(cluster, "T", port.address());
        Producer::Options options;
        options.deadline = 60s;
        options.retries_max = 1'000;
        options.retry_unknown = true;
        options.batch_bytes_max = 0;
        auto producer = Producer::create(cluster.connect(), options).value();
        // Spread over two attempts, so that some have been given up and repeated, some not.
        for (int i = 0; i < kMessages; ++i) {
            REQUIRE(producer->send_async(message_of("T", body_of(i)), [](const auto&) {}));
            std::this_thread::sleep_for(20ms);  // sleeps: spreads the deadlines
        }
        port.open();
        REQUIRE(wait_until(
            [&] { return port.received().find(body_of(kMessages - 1)) != std::string::npos; }));
        const std::string received = port.received();
        std::size_t last = 0;
        for (int i = 0; i < kMessages; ++i) {
            CAPTURE(i);
            const std::size_t at = received.find(body_of(i));
            REQUIRE(at != std::string::npos);
            CHECK(at >= last);
            last = at;
        }
        CHECK_FALSE(producer->close(0s));
    }
}

}  // namespace gantry::client::test
