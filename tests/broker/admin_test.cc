// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/admin");

TEST_CASE("a message is found by its place and by its keys") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"a", "", "k1"}, {"b", "", "k2 k1"}}).summary() == "0");
    const Answer stored = send(f.native(), "T", 1, {{"c"}});
    wire::ViewMessageRequest view;
    view.set_offset(stored.fields<wire::SendRecordsResponse>().logoffset());
    for (RpcClient* const client : {&f.json(), &f.native()}) {
        const Answer found = client->call(RequestCode::kViewMessageById, &view);
        REQUIRE(found.summary() == "0");
        CHECK(bodies(found.body) == std::vector<std::string>{"c"});
    }
    view.set_offset(view.offset() + 1);
    CHECK(f.json().call(RequestCode::kViewMessageById, &view).code == ResponseCode::kSystemError);
    CHECK(f.native().call(RequestCode::kViewMessageById, &view).code ==
          ResponseCode::kQueryNotFound);

    wire::QueryMessageRequest query;
    query.set_topic("T");
    query.set_key("k1");
    query.set_maxnum(10);
    query.set_begintimestamp(0);
    query.set_endtimestamp(INT64_MAX);
    const Answer both = f.json().call(RequestCode::kQueryMessage, &query);
    REQUIRE(both.summary() == "0");
    CHECK(bodies(both.body) == std::vector<std::string>{"b", "a"});
    query.set_maxnum(1);
    CHECK(bodies(f.native().call(RequestCode::kQueryMessage, &query).body) ==
          std::vector<std::string>{"b"});
    query.set_key("k3");
    CHECK(f.json().call(RequestCode::kQueryMessage, &query).summary() ==
          "22 can not find message, maybe time range not correct");
    query.set_key("k1");
    query.set_topic("OTHER");
    CHECK(f.json().call(RequestCode::kQueryMessage, &query).code == ResponseCode::kQueryNotFound);
}

TEST_CASE("the broker describes itself natively and to mqadmin") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T", 3) == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"a"}, {"b"}}).summary() == "0");
    const auto about =
        f.native().call(RequestCode::kDescribeBroker).body_as<wire::BrokerDescription>();
    CHECK(about.brokername() == "broker-a");
    CHECK(about.clustername() == "DefaultCluster");
    CHECK(about.address() == f.address());
    CHECK(about.flushmode() == "async");
    CHECK(about.state() == "writable");
    CHECK(about.topics() == 1);
    CHECK(about.queues() == 3);
    CHECK(about.connections() >= 1);
    CHECK(about.freebytes() > 0);
    CHECK(about.appendedlogoffset() > about.minlogoffset());
    REQUIRE(about.counters().contains("gantry_broker_messages_in_total"));
    CHECK(about.counters().at("gantry_broker_messages_in_total") == 2);

    const auto info = f.json().call(RequestCode::kGetBrokerRuntimeInfo).body_as<wire::KvTable>();
    for (const char* const key : {"brokerVersionDesc",
                                  "putTps",
                                  "getTransferedTps",
                                  "getTransferredTps",
                                  "msgPutTotalTodayNow",
                                  "msgPutTotalTodayMorning",
                                  "msgPutTotalYesterdayMorning",
                                  "pageCacheLockTimeMills",
                                  "earliestMessageTimeStamp",
                                  "commitLogDiskRatio",
                                  "sendThreadPoolQueueSize",
                                  "pullThreadPoolQueueHeadWaitTimeMills"}) {
        INFO(key);
        REQUIRE(info.table().contains(key));
        CHECK_FALSE(info.table().at(key).empty());
    }
    CHECK(info.table().at("msgPutTotalTodayNow") == "2");
}

TEST_CASE("a request code nobody knows gets an answer that says so") {
    BrokerFixture f;
    for (RpcClient* const client : {&f.json(), &f.binary(), &f.native()}) {
        CHECK(client->call(static_cast<RequestCode>(4'711)).summary() ==
              "3  request type 4711 not supported");
        CHECK(client->call(RequestCode::kGetAllTopicConfig).summary() == "0");
    }
}

TEST_CASE("a second broker on the same store, or the same port, does not start") {
    BrokerFixture f;
    SystemClock clock;
    const auto files = make_posix_file_system();
    BrokerOptions options;
    options.base.listen_address = "127.0.0.1";
    options.base.http_port = 0;
    options.store_directory = f.broker().options().store_directory;
    options.base.listen_port = 0;
    const auto same_store = Broker::start(options, clock, *files);
    REQUIRE_FALSE(same_store);
    CHECK(same_store.error().code == Errc::kConflict);

    const harness::TempDirectory elsewhere;
    options.store_directory = elsewhere.path() / "store";
    options.base.listen_port = f.broker().port();
    const auto same_port = Broker::start(options, clock, *files);
    REQUIRE_FALSE(same_port);
    CHECK(same_port.error().code == Errc::kConflict);
    CHECK(same_port.error().detail.find(std::to_string(f.broker().port())) != std::string::npos);
    CHECK(f.native().call(RequestCode::kGetAllTopicConfig).summary() == "0");
}

TEST_CASE("settings that contradict each other are refused by name") {
    BrokerOptions options;
    CHECK(check_options(options));
    options.name = "";
    CHECK(check_options(options).error().detail.starts_with("broker.name ''"));
    options.name = "a b";
    CHECK_FALSE(check_options(options));
    options.name = "broker-a";
    options.store_segment_bytes = options.message_bytes_max;
    CHECK(check_options(options).error().detail.starts_with("store.segment_bytes 4194304"));
    options.store_segment_bytes = std::int64_t{1} << 30;
    options.base.listen_port = 2;
    CHECK_FALSE(check_options(options));
    options.base.listen_port = 0;
    options.nameservers = {"127.0.0.1:9876", "nowhere"};
    CHECK(check_options(options).error().detail ==
          "nameserver.addresses: address \"nowhere\": is not host:port");
    options.nameservers.clear();
    options.base.listen_address = "localhost";
    CHECK(check_options(options).error().detail ==
          "listen.address 'localhost' must be an IP address");
}

TEST_SUITE_END();

}  // namespace gantry::broker
