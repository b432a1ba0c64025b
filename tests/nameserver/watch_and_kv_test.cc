// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/wait.h"
#include "tests/nameserver/nameserver_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <future>
#include <string>
#include <vector>

namespace gantry::nameserver {
namespace {

using harness::Answer;
using harness::RpcClient;
using harness::wait_until;

constexpr std::chrono::milliseconds kPatience{10'000};

}  // namespace

TEST_SUITE("nameserver/watch_and_kv") {
    TEST_CASE_FIXTURE(NameserverFixture, "a watch that knows nothing is answered at once") {
        CHECK(add(*client, 1, {"TopicA"}) == "0");
        const auto body = watch("TopicA", 0, 60'000).get().body_as<wire::WatchRoutesBody>();
        REQUIRE(body.changed_size() == 1);
        CHECK(body.changed(0).topic() == "TopicA");
        CHECK(body.changed(0).exists());
        CHECK(body.changed(0).version() != 0);
        CHECK(body.changed(0).route().queuedatas(0).brokername() == "broker-a");
        const auto absent = watch("TopicX", 0, 60'000).get().body_as<wire::WatchRoutesBody>();
        REQUIRE(absent.changed_size() == 1);
        CHECK(!absent.changed(0).exists());
        CHECK(absent.changed(0).version() != 0);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a parked watch is answered when its route changes") {
        RpcClient broker(address());
        CHECK(add(broker, 1, {"TopicA"}) == "0");
        const std::uint64_t known = version_of("TopicA");
        std::future<Answer> parked = watch("TopicA", known, 60'000);
        CHECK(
            wait_until(kPatience, [&] { return metric("gantry_nameserver_parked_watches") == 1; }));
        SUBCASE("another topic changes, then this one") {
            CHECK(add(broker, 2, {"TopicA", "TopicB"}) == "0");
            CHECK(metric("gantry_nameserver_parked_watches") == 1);
            CHECK(add(broker, 3, {"TopicB"}) == "0");
            const auto body = parked.get().body_as<wire::WatchRoutesBody>();
            REQUIRE(body.changed_size() == 1);
            CHECK(!body.changed(0).exists());
        }
        SUBCASE("the broker's connection is lost") {
            broker.disconnect();
            const auto body = parked.get().body_as<wire::WatchRoutesBody>();
            REQUIRE(body.changed_size() == 1);
            CHECK(!body.changed(0).exists());
        }
        SUBCASE("its order configuration changes") {
            CHECK(put_kv("ORDER_TOPIC_CONFIG", "TopicA", "broker-a:4") == "0");
            const auto body = parked.get().body_as<wire::WatchRoutesBody>();
            REQUIRE(body.changed_size() == 1);
            CHECK(body.changed(0).version() > known);
            CHECK(body.changed(0).route().ordertopicconf() == "broker-a:4");
        }
        CHECK(
            wait_until(kPatience, [&] { return metric("gantry_nameserver_parked_watches") == 0; }));
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a watch of an absent topic is answered when it appears") {
        std::future<Answer> parked = watch("TopicA", version_of("TopicA"), 60'000);
        CHECK(
            wait_until(kPatience, [&] { return metric("gantry_nameserver_parked_watches") == 1; }));
        RpcClient broker(address());
        CHECK(add(broker, 1, {"TopicA"}) == "0");
        CHECK(parked.get().body_as<wire::WatchRoutesBody>().changed(0).exists());
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a watch with nothing new ends at its time-out, empty") {
        const Answer at_once = watch("TopicA", version_of("TopicA"), 0).get();
        CHECK(at_once.summary() == "0");
        CHECK(at_once.body_as<wire::WatchRoutesBody>().changed_size() == 0);
        const auto begin = std::chrono::steady_clock::now();
        const Answer later = watch("TopicA", version_of("TopicA"), 50).get();
        CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(50));
        CHECK(later.summary() == "0");
        CHECK(later.body_as<wire::WatchRoutesBody>().changed_size() == 0);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "watches of a closed connection are dropped") {
        std::future<Answer> parked = watch("TopicA", version_of("TopicA"), 60'000);
        CHECK(
            wait_until(kPatience, [&] { return metric("gantry_nameserver_parked_watches") == 1; }));
        client->disconnect();
        CHECK(!parked.get().transport);
        CHECK(
            wait_until(kPatience, [&] { return metric("gantry_nameserver_parked_watches") == 0; }));
    }

    TEST_CASE_FIXTURE(NameserverFixture, "the ninth watch of a connection is refused as busy") {
        const std::uint64_t known = version_of("TopicA");
        std::vector<std::future<Answer>> parked;
        for (int i = 0; i < 8; ++i) {
            parked.push_back(watch("TopicA", known, 60'000));
        }
        CHECK(watch("TopicA", known, 60'000).get().code == wire::ResponseCode::kSystemBusy);
        RpcClient broker(address());
        CHECK(add(broker, 1, {"TopicA"}) == "0");
        for (std::future<Answer>& watch : parked) {
            CHECK(watch.get().summary() == "0");
        }
    }

    TEST_CASE_FIXTURE(NameserverFixture, "KV entries are put, got, listed and deleted") {
        CHECK(get_kv("N", "k") == "22 No config item, Namespace: N Key: k ");
        CHECK(put_kv("N", "k", "v") == "0");
        CHECK(get_kv("N", "k") == "0 v");
        RpcClient stock(address(), wire::Codec::kJson);
        wire::NamespaceRequest space;
        space.set_namespace_("N");
        CHECK(stock.call(wire::RequestCode::kGetKvListByNamespace, &space).body ==
              R"({"table":{"k":"v"}})");
        wire::KvRequest request;
        request.set_namespace_("N");
        request.set_key("k");
        CHECK(stock.call(wire::RequestCode::kDeleteKvConfig, &request).summary() == "0");
        CHECK(stock.call(wire::RequestCode::kDeleteKvConfig, &request).summary() == "0");
        CHECK(stock.call(wire::RequestCode::kGetKvListByNamespace, &space).code ==
              wire::ResponseCode::kQueryNotFound);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a registration answers with the order configuration") {
        CHECK(put_kv("ORDER_TOPIC_CONFIG", "TopicA", "broker-a:4") == "0");
        RpcClient stock(address(), wire::Codec::kJson);
        const auto request = broker_a();
        CHECK(stock
                  .call_with_body(
                      wire::RequestCode::kRegisterBroker, &request, body_of(1, {"TopicA"}))
                  .body == R"({"table":{"TopicA":"broker-a:4"}})");
    }

    TEST_CASE_FIXTURE(NameserverFixture, "KV entries in a file survive a restart") {
        settings.kv_file = (directory.path() / "kv.json").string();
        start();
        for (int i = 0; i < 20; ++i) {
            CHECK(put_kv("N", "k" + std::to_string(i), "v") == "0");
        }
        start();
        CHECK(get_kv("N", "k0") == "0 v");
        CHECK(get_kv("N", "k19") == "0 v");
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a KV file that cannot be written fails the change") {
        settings.kv_file = (directory.path() / "missing" / "kv.json").string();
        start();
        const std::string answer = put_kv("N", "k", "v");
        CHECK_MESSAGE(answer.rfind("1 ", 0) == 0, answer);
        CHECK_MESSAGE(answer.find("kv.json") != std::string::npos, answer);
    }

    TEST_CASE_FIXTURE(NameserverFixture, "a KV file that cannot be read stops the start") {
        settings.kv_file = (directory.path() / "kv.json").string();
        std::ofstream(settings.kv_file) << "nonsense";
        const auto started = Nameserver::start(settings, clock);
        REQUIRE(!started);
        CHECK(to_string(started.error()) ==
              "corrupt: kv.file " + settings.kv_file + ": not a JSON object");
    }
}

}  // namespace gantry::nameserver
