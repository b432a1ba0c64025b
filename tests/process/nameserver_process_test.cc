// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/http_get.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <future>
#include <string>

namespace gantry::harness {
namespace {

wire::RegisterBrokerRequest broker_a() {
    wire::RegisterBrokerRequest request;
    request.set_brokername("broker-a");
    request.set_brokeraddr("127.0.0.1:10911");
    request.set_clustername("east");
    request.set_brokerid(0);
    return request;
}

std::string add_broker(RpcClient& from, const std::string& topic) {
    wire::RegisterBrokerBody body;
    wire::TopicConfigTable& table = *body.mutable_topicconfigserializewrapper();
    table.mutable_dataversion()->set_counter(1);
    (*table.mutable_topicconfigtable())[topic].set_topicname(topic);
    const auto request = broker_a();
    return from.call_with_body(wire::RequestCode::kRegisterBroker, &request, body).summary();
}

Answer route(RpcClient& from, const std::string& topic) {
    wire::TopicRequest request;
    request.set_topic(topic);
    return from.call(wire::RequestCode::kGetRouteInfoByTopic, &request);
}

class OneNameserver {
public:
    OneNameserver() : nameserver(directory.path(), "nameserver") {}

    TempDirectory directory;
    NameserverProcess nameserver;
};

}  // namespace

TEST_SUITE("process/nameserver") {
    TEST_CASE_FIXTURE(OneNameserver, "it answers health, readiness and metrics over HTTP") {
        REQUIRE(nameserver.start().has_value());
        const auto get = [this](const std::string& path) {
            return http_get(nameserver.http_port(), path).value_or({});
        };
        CHECK(get("/healthz").status == 200);
        CHECK(get("/readyz").status == 200);
        CHECK(get("/nothing").status == 404);
        RpcClient broker(nameserver.address());
        CHECK(add_broker(broker, "TopicA") == "0");
        const HttpAnswer metrics = get("/metrics");
        CHECK(metrics.status == 200);
        CHECK(metrics.body.find("# TYPE gantry_nameserver_brokers gauge\n"
                                "gantry_nameserver_brokers 1\n") != std::string::npos);
        CHECK(metric(nameserver.http_port(), "gantry_nameserver_topics").value_or(-1) == 1);
        CHECK(metric(nameserver.http_port(), "gantry_nameserver_broker_requests_total")
                  .value_or(-1) == 1);
    }

    TEST_CASE_FIXTURE(OneNameserver, "after kill -9 it starts empty at the same port, KV kept") {
        nameserver.set("kv.file", (directory.path() / "kv.json").string());
        REQUIRE(nameserver.start().has_value());
        const std::uint16_t port = nameserver.port();
        RpcClient client(nameserver.address());
        CHECK(add_broker(client, "TopicA") == "0");
        wire::KvRequest entry;
        entry.set_namespace_("N");
        entry.set_key("k");
        entry.set_value("v");
        CHECK(client.call(wire::RequestCode::kPutKvConfig, &entry).summary() == "0");

        const Status restarted = nameserver.restart();
        REQUIRE_MESSAGE(restarted.has_value(), (restarted ? "" : to_string(restarted.error())));
        CHECK(nameserver.port() == port);
        // The client's link comes back by itself; what was in flight may fail once.
        wait_until(Process::kPatience,
                   [&] { return route(client, "TopicA").transport.has_value(); });
        CHECK(route(client, "TopicA").code == wire::ResponseCode::kTopicNotExist);
        const Answer got = client.call(wire::RequestCode::kGetKvConfig, &entry);
        CHECK(got.fields<wire::KvValueResponse>().value() == "v");
        CHECK(add_broker(client, "TopicA") == "0");
        CHECK(route(client, "TopicA").summary() == "0");
    }

    TEST_CASE_FIXTURE(OneNameserver, "a broker whose process dies is gone at once") {
        REQUIRE(nameserver.start().has_value());
        RpcClient client(nameserver.address());
        {
            RpcClient broker(nameserver.address());
            CHECK(add_broker(broker, "TopicA") == "0");
            CHECK(route(client, "TopicA").summary() == "0");
        }
        // Far below the expiry of 120 s.
        CHECK(wait_until(Process::kPatience, [&] {
            return route(client, "TopicA").code == wire::ResponseCode::kTopicNotExist;
        }));
    }

    TEST_CASE_FIXTURE(OneNameserver, "a broker that says nothing expires") {
        nameserver.set("route.expiry_ms", "1s");
        REQUIRE(nameserver.start().has_value());
        RpcClient broker(nameserver.address());
        CHECK(add_broker(broker, "TopicA") == "0");
        RpcClient client(nameserver.address());
        CHECK(wait_until(Process::kPatience, [&] {
            return route(client, "TopicA").code == wire::ResponseCode::kTopicNotExist;
        }));
        CHECK(metric(nameserver.http_port(), "gantry_nameserver_expired_brokers_total")
                  .value_or(-1) == 1);
    }

    TEST_CASE_FIXTURE(OneNameserver,
                      "a stopped nameserver process expires nobody when it goes on") {
        nameserver.set("route.expiry_ms", "6s");
        REQUIRE(nameserver.start().has_value());
        RpcClient broker(nameserver.address());
        CHECK(add_broker(broker, "TopicA") == "0");
        nameserver.process().pause();
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(8);
        wait_until(std::chrono::seconds(30),
                   [&] { return std::chrono::steady_clock::now() > until; });
        nameserver.process().resume();
        CHECK(route(broker, "TopicA").summary() == "0");
        CHECK(metric(nameserver.http_port(), "gantry_nameserver_brokers").value_or(-1) == 1);
        CHECK(route(broker, "TopicA").summary() == "0");
    }

    TEST_CASE_FIXTURE(OneNameserver,
                      "a clean stop answers what it has and closes its connections") {
        REQUIRE(nameserver.start().has_value());
        RpcClient client(nameserver.address());
        CHECK(route(client, "TopicA").code == wire::ResponseCode::kTopicNotExist);
        const Status stopped = nameserver.stop();
        CHECK_MESSAGE(stopped.has_value(), (stopped ? "" : to_string(stopped.error())));
    }
}

}  // namespace gantry::harness
