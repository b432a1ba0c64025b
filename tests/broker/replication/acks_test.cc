// SPDX-License-Identifier: Apache-2.0
// What acknowledgements of a master wait for, and what it tells when it is deposed.
#include "protocol/wire/numbers.pb.h"
#include "protocol/wire/replication.pb.h"
#include "tests/broker/replication/serving_fixture.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::broker {
namespace {

bool has_come(std::future<Answer>& answer) {
    return answer.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready;
}

ResponseCode pull_code(RpcClient& client, const std::string& topic) {
    const wire::PullMessageRequest pull = pull_of(topic, 0, 0);
    return client.call(RequestCode::kPullMessage, &pull).code;
}

}  // namespace

TEST_SUITE("broker/replication/acks") {
    TEST_CASE_FIXTURE(ServingFixture, "a send waits for the copies its topic asks for") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        REQUIRE(create_topic("A", "async") == ResponseCode::kSuccess);
        REQUIRE(create_topic("D") == ResponseCode::kSuccess);
        std::future<Answer> sync = start_send("S", "s");
        std::future<Answer> by_default = start_send("D", "d");
        std::future<Answer> stock = start_stock_send("S", "t");
        CHECK(start_send("A", "a").get().code == ResponseCode::kSuccess);
        CHECK(start_stock_send("A", "b").get().code == ResponseCode::kSuccess);
        CHECK(!has_come(sync));
        CHECK(!has_come(by_default));
        CHECK(!has_come(stock));
        // Readers see what is confirmed, whatever the senders were told.
        CHECK(pull_code(native(), "S") == ResponseCode::kPullNotFound);
        CHECK(pull_code(native(), "A") == ResponseCode::kPullNotFound);
        confirm_all();
        CHECK(sync.get().code == ResponseCode::kSuccess);
        CHECK(by_default.get().code == ResponseCode::kSuccess);
        CHECK(stock.get().code == ResponseCode::kSuccess);
        CHECK(read_queue(native(), "S", 0).size() == 2);
        CHECK(read_queue(native(), "A", 0) == std::vector<std::string>{"a", "b"});
    }

    TEST_CASE("replication.acks says what topics do not") {
        ServingFixture fixture([](BrokerOptions& o) { o.replication.acks = "async"; });
        REQUIRE(fixture.create_topic("D") == ResponseCode::kSuccess);
        REQUIRE(fixture.create_topic("S", "sync") == ResponseCode::kSuccess);
        std::future<Answer> sync = fixture.start_send("S", "s");
        CHECK(fixture.start_send("D", "d").get().code == ResponseCode::kSuccess);
        CHECK(!has_come(sync));
        fixture.confirm_all();
        CHECK(sync.get().code == ResponseCode::kSuccess);
    }

    TEST_CASE("with sync flush both wait for this copy's disk") {
        ServingFixture fixture([](BrokerOptions& o) { o.store_flush = "sync"; });
        REQUIRE(fixture.create_topic("S", "sync") == ResponseCode::kSuccess);
        REQUIRE(fixture.create_topic("A", "async") == ResponseCode::kSuccess);
        std::future<Answer> sync = fixture.start_send("S", "s");
        CHECK(fixture.start_send("A", "a").get().code == ResponseCode::kSuccess);
        CHECK(fixture.store().watermarks().flushed == fixture.end());
        CHECK(!has_come(sync));
        fixture.confirm_all();
        CHECK(sync.get().code == ResponseCode::kSuccess);
    }

    TEST_CASE_FIXTURE(ServingFixture, "readers may see more than senders are told of") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        replica.acknowledged_to = end().value;
        std::future<Answer> sent = start_send("S", "s");
        REQUIRE(harness::wait_until(std::chrono::seconds(10), [&] {
            confirm_all();
            return pull_code(native(), "S") == ResponseCode::kSuccess;
        }));
        CHECK(!has_come(sent));
        replica.acknowledged_to = INT64_MAX;
        tell_progress();
        CHECK(sent.get().code == ResponseCode::kSuccess);
    }

    TEST_CASE_FIXTURE(ServingFixture, "a reader that waits gets what has been confirmed") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        const wire::PullMessageRequest pull = held_pull_of("S", 0, 0, 20'000);
        std::future<Answer> parked = json().start(RequestCode::kPullMessage, &pull);
        std::future<Answer> sent = start_send("S", "s");
        CHECK(confirmed(std::move(sent)).code == ResponseCode::kSuccess);
        const Answer answer = parked.get();
        CHECK(answer.code == ResponseCode::kSuccess);
        CHECK(bodies(answer.body) == std::vector<std::string>{"s"});
    }

    TEST_CASE_FIXTURE(ServingFixture, "numbers are told once what they stand for is everywhere") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        REQUIRE(create_topic("A", "async") == ResponseCode::kSuccess);
        std::future<Answer> sent = start_send("S", "s");
        CHECK(start_send("A", "a").get().code == ResponseCode::kSuccess);  // both are in the log
        wire::ListSendNumbersRequest of_s;
        of_s.set_topic("S");
        wire::ListSendNumbersRequest of_a;
        of_a.set_topic("A");
        std::future<Answer> list = native().start(RequestCode::kListSendNumbers, &of_s);
        CHECK(native().call(RequestCode::kListSendNumbers, &of_a).code == ResponseCode::kSuccess);
        CHECK(!has_come(list));
        confirm_all();
        CHECK(list.get().code == ResponseCode::kSuccess);
        CHECK(sent.get().code == ResponseCode::kSuccess);
        std::future<Answer> another = start_send("S", "t");
        CHECK(start_send("A", "b").get().code == ResponseCode::kSuccess);
        list = native().start(RequestCode::kListSendNumbers, &of_s);
        CHECK(native().call(RequestCode::kListSendNumbers, &of_a).code == ResponseCode::kSuccess);
        replica.is_sure = false;
        confirm_all();
        CHECK(list.get().code == ResponseCode::kUnknownOutcome);
        CHECK(another.get().code == ResponseCode::kUnknownOutcome);
    }

    TEST_CASE_FIXTURE(ServingFixture, "who is deposed does not know, and takes no more") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        REQUIRE(create_topic("A", "async") == ResponseCode::kSuccess);
        std::future<Answer> native_send = start_send("S", "n");
        std::future<Answer> stock = start_stock_send("S", "s");
        CHECK(start_send("A", "a").get().code == ResponseCode::kSuccess);
        CHECK(start_stock_send("A", "b").get().code == ResponseCode::kSuccess);
        replica.is_sure = false;
        confirm_all();
        CHECK(native_send.get().code == ResponseCode::kUnknownOutcome);
        const Answer late = stock.get();
        CHECK(late.code == ResponseCode::kFlushSlaveTimeout);
        CHECK(!late.fields<wire::SendMessageResponse>().msgid().empty());
        const LogOffset before = end();
        const Answer refused = start_send("A", "c").get();
        CHECK(refused.code == ResponseCode::kNotMaster);
        const auto fields = refused.fields<wire::NotMasterResponse>();
        CHECK(fields.masteraddress() == "10.0.0.9:10911");
        CHECK(fields.epoch() == 3);
        CHECK(start_stock_send("A", "d").get().code == ResponseCode::kServiceNotAvailable);
        CHECK(end() == before);
    }

    TEST_CASE_FIXTURE(ServingFixture, "a fenced store ends what waits, at once") {
        REQUIRE(create_topic("S", "sync") == ResponseCode::kSuccess);
        const LogOffset before = end();
        std::future<Answer> sent = start_send("S", "s");
        REQUIRE(harness::wait_until(std::chrono::seconds(10), [&] { return end() > before; }));
        CHECK(!has_come(sent));
        store().replica().fence("epoch 4 has another master");
        tell_progress();
        const Answer answer = sent.get();
        CHECK(answer.code == ResponseCode::kUnknownOutcome);
        CHECK(answer.remark.find("epoch 4 has another master") != std::string::npos);
    }

    TEST_CASE("too few copies: nothing is appended") {
        ServingFixture fixture([](BrokerOptions& o) { o.replication.in_sync_min = 2; });
        REQUIRE(fixture.create_topic("S", "sync") == ResponseCode::kSuccess);
        REQUIRE(fixture.create_topic("A", "async") == ResponseCode::kSuccess);
        fixture.replica.copies = 1;
        const LogOffset before = fixture.end();
        const Answer refused = fixture.start_send("S", "s").get();
        CHECK(refused.code == ResponseCode::kInSyncTooFew);
        CHECK(refused.remark ==
              "copies in sync 1 < replication.in_sync_min 2, and replication of topic[S] is sync");
        CHECK(fixture.start_stock_send("S", "s").get().code == ResponseCode::kServiceNotAvailable);
        CHECK(fixture.end() == before);
        CHECK(fixture.start_send("A", "a").get().code == ResponseCode::kSuccess);
        fixture.replica.copies = 2;
        CHECK(fixture.confirmed(fixture.start_send("S", "s")).code == ResponseCode::kSuccess);
    }

    TEST_CASE_FIXTURE(ServingFixture, "a topic's replication is sync or async") {
        CHECK(create_topic("T", "maybe") == ResponseCode::kInvalidParameter);
        CHECK(create_topic("T", "async") == ResponseCode::kSuccess);
        CHECK(store().find_topic("T")->acks() == storage::TopicAcks::kAsync);
    }

    TEST_CASE_FIXTURE(ServingFixture, "operators are told how the copies stand") {
        const wire::ReplicaStatusRequest ask;
        const Answer status = native().call(RequestCode::kReplicaStatus, &ask);
        CHECK(status.code == ResponseCode::kSuccess);
        CHECK(status.fields<wire::ReplicaStatus>().epoch() == 3);
        wire::ReplicaStatusRequest other;
        other.set_group("broker-z");
        CHECK(native().call(RequestCode::kReplicaStatus, &other).code ==
              ResponseCode::kInvalidParameter);
        wire::PromoteRequest promote;
        promote.set_confirm(true);
        const Answer promoted = native().call(RequestCode::kPromote, &promote);
        CHECK(promoted.fields<wire::PromoteResponse>().isdone());
    }
}

}  // namespace gantry::broker
