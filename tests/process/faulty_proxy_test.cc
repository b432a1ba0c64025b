// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faulty_proxy.h"

#include "common/unique_fd.h"
#include "protocol/wire/topic.pb.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <chrono>
#include <future>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <utility>

namespace gantry::harness {
namespace {

/// A nameserver behind a proxy, and a client that knows only the proxy.
class ProxiedNameserver {
public:
    ProxiedNameserver() : nameserver(directory.path(), "nameserver") {
        REQUIRE(nameserver.start().has_value());
        Result<std::unique_ptr<FaultyProxy>> started = FaultyProxy::start(nameserver.port());
        REQUIRE(started.has_value());
        proxy = std::move(started).value();
        client.emplace(proxy->address());
    }

    Answer ask(std::chrono::milliseconds timeout = RpcClient::kPatience) {
        wire::TopicRequest request;
        request.set_topic("TopicA");
        return client->start(wire::RequestCode::kGetRouteInfoByTopic, &request, "", timeout).get();
    }

    /// The same without waiting.
    std::future<Answer> start_asking() {
        wire::TopicRequest request;
        request.set_topic("TopicA");
        return client->start(wire::RequestCode::kGetRouteInfoByTopic, &request);
    }

    bool is_answered() { return ask().code == wire::ResponseCode::kTopicNotExist; }

    TempDirectory directory;
    NameserverProcess nameserver;
    std::unique_ptr<FaultyProxy> proxy;
    std::optional<RpcClient> client;
};

}  // namespace

TEST_SUITE("process/faulty_proxy") {
    TEST_CASE_FIXTURE(ProxiedNameserver, "it forwards, and delays each direction") {
        CHECK(is_answered());
        CHECK(proxy->connection_count() == 1);
        proxy->delay(std::chrono::milliseconds(60));
        const auto begin = std::chrono::steady_clock::now();
        CHECK(is_answered());
        CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(120));
    }

    TEST_CASE_FIXTURE(ProxiedNameserver, "a dropped request times out, the connection stays") {
        CHECK(is_answered());
        proxy->drop();
        const Answer lost = ask(std::chrono::milliseconds(100));
        REQUIRE(!lost.transport);
        CHECK(lost.transport.error().code == Errc::kTimeout);
        CHECK(proxy->connection_count() == 1);
        proxy->pass();
        CHECK(is_answered());
    }

    TEST_CASE_FIXTURE(ProxiedNameserver, "a cut fails what is in flight until it ends") {
        CHECK(is_answered());
        proxy->cut();
        CHECK(wait_until(Process::kPatience, [&] { return proxy->connection_count() == 0; }));
        CHECK(!ask(std::chrono::milliseconds(200)).transport);
        proxy->pass();
        CHECK(is_answered());
        proxy->cut_once();
        CHECK(wait_until(Process::kPatience, [&] { return is_answered(); }));
    }

    TEST_CASE_FIXTURE(ProxiedNameserver, "what is held one way arrives when the hold ends") {
        CHECK(is_answered());
        for (const auto direction :
             {FaultyProxy::Direction::kToTarget, FaultyProxy::Direction::kToClient}) {
            proxy->hold(direction, true);
            auto waiting = start_asking();
            CHECK(waiting.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
            CHECK(proxy->connection_count() == 1);
            proxy->hold(direction, false);
            CHECK(waiting.get().code == wire::ResponseCode::kTopicNotExist);
        }
    }

    TEST_CASE_FIXTURE(ProxiedNameserver, "a limited line takes its time") {
        CHECK(is_answered());
        proxy->limit_rate(1'000);
        const auto begin = std::chrono::steady_clock::now();
        CHECK(is_answered());
        // Two frames, of no less than 40 bytes each.
        CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(80));
        proxy->limit_rate(0);
        CHECK(is_answered());
    }
}

namespace {

/// A proxy between two ends of a stream that the test holds both.
class ProxiedStream {
public:
    ProxiedStream() {
        listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        REQUIRE(::bind(listener.get(), generic, size) == 0);
        REQUIRE(::listen(listener.get(), 1) == 0);
        REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
        auto started = FaultyProxy::start(ntohs(address.sin_port), {"127.0.1.9", 0});
        REQUIRE(started.has_value());
        proxy = std::move(started).value();
        client.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        address.sin_port = htons(proxy->port());
        REQUIRE(::inet_pton(AF_INET, "127.0.1.9", &address.sin_addr) == 1);
        REQUIRE(::connect(client.get(), generic, sizeof(address)) == 0);
        target.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(target.get() >= 0);
    }

    /// What comes out of `to` when `bytes` go into `from`.
    static std::string passed(const UniqueFd& from, const UniqueFd& to, std::string bytes) {
        REQUIRE(::send(from.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
        REQUIRE(::recv(to.get(), bytes.data(), bytes.size(), MSG_WAITALL) ==
                static_cast<ssize_t>(bytes.size()));
        return bytes;
    }

    UniqueFd listener;
    UniqueFd client;
    UniqueFd target;
    std::unique_ptr<FaultyProxy> proxy;
};

}  // namespace

TEST_SUITE("process/faulty_proxy") {
    TEST_CASE_FIXTURE(ProxiedStream, "one bit is flipped, in one direction, once") {
        CHECK(proxy->address() == "127.0.1.9:" + std::to_string(proxy->port()));
        proxy->flip_bit(FaultyProxy::Direction::kToTarget);
        CHECK(passed(target, client, "abc") == "abc");
        CHECK(passed(client, target, "abc") == "arc");
        CHECK(passed(client, target, "abc") == "abc");
    }

    TEST_CASE_FIXTURE(ProxiedStream, "a limited line keeps order and loses nothing") {
        proxy->limit_rate(2'000'000);
        std::string sent;
        for (int i = 0; i < 40'000; ++i) {
            sent += std::to_string(i) + ' ';
        }
        const auto begin = std::chrono::steady_clock::now();
        CHECK(passed(client, target, sent) == sent);
        CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(100));
    }
}

}  // namespace gantry::harness
