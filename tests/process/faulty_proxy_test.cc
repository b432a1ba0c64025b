// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faulty_proxy.h"

#include "protocol/wire/topic.pb.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>

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
}

}  // namespace gantry::harness
