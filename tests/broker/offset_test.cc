// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <limits>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/offset");

namespace {

Answer query(RpcClient& client, const std::string& topic, std::int32_t queue_id) {
    wire::QueryConsumerOffsetRequest request;
    request.set_consumergroup("CG");
    request.set_topic(topic);
    request.set_queueid(queue_id);
    return client.call(RequestCode::kQueryConsumerOffset, &request);
}

wire::UpdateConsumerOffsetRequest update_of(const std::string& topic,
                                            std::int32_t queue_id,
                                            std::int64_t offset) {
    wire::UpdateConsumerOffsetRequest request;
    request.set_consumergroup("CG");
    request.set_topic(topic);
    request.set_queueid(queue_id);
    request.set_commitoffset(offset);
    return request;
}

Answer update(RpcClient& client,
              const std::string& topic,
              std::int32_t queue_id,
              std::int64_t offset) {
    const wire::UpdateConsumerOffsetRequest request = update_of(topic, queue_id, offset);
    return client.call(RequestCode::kUpdateConsumerOffset, &request);
}

std::int64_t offset_of(const Answer& answer) {
    REQUIRE(answer.summary() == "0");
    return answer.fields<wire::OffsetResponse>().offset();
}

wire::QueueRequest queue_of(const std::string& topic, std::int32_t queue_id) {
    wire::QueueRequest request;
    request.set_topic(topic);
    request.set_queueid(queue_id);
    return request;
}

}  // namespace

TEST_CASE("a committed offset is found again, in every codec and after a restart") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(update(f.native(), "T", 0, 3).summary() == "0");
    REQUIRE(update(f.json(), "T", 1, 4).summary() == "0");
    REQUIRE(update(f.binary(), "T", 2, 5).summary() == "0");
    f.restart();
    CHECK(offset_of(query(f.json(), "T", 0)) == 3);
    CHECK(offset_of(query(f.native(), "T", 1)) == 4);
    CHECK(offset_of(query(f.native(), "T", 2)) == 5);
}

TEST_CASE("the last commit of a pass wins, lower ones included") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(update(f.native(), "T", 0, 9).summary() == "0");
    REQUIRE(update(f.native(), "T", 0, 2).summary() == "0");
    CHECK(offset_of(query(f.native(), "T", 0)) == 2);
}

TEST_CASE("a commit that changes nothing is acknowledged and not logged") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(update(f.native(), "T", 0, 9).summary() == "0");
    const LogOffset end = f.broker().store().watermarks().appended;
    REQUIRE(update(f.native(), "T", 0, 9).summary() == "0");
    CHECK(f.broker().store().watermarks().appended == end);
}

TEST_CASE("many offsets are committed in one record, all or none") {
    BrokerFixture f([](BrokerOptions& o) { o.store_flush = "sync"; });
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::CommitOffsetsRequest request;
    request.set_consumergroup("CG");
    for (std::int32_t i = 0; i < 4; ++i) {
        auto& entry = *request.add_offsets();
        entry.set_topic("T");
        entry.set_queueid(i);
        entry.set_offset(100 + i);
    }
    REQUIRE(f.native().call(RequestCode::kCommitOffsets, &request).summary() == "0");
    const storage::Watermarks marks = f.broker().store().watermarks();
    CHECK(marks.flushed == marks.appended);
    CHECK(offset_of(query(f.native(), "T", 3)) == 103);

    request.mutable_offsets(0)->set_offset(500);
    request.mutable_offsets(1)->set_queueid(99);
    CHECK(f.native().call(RequestCode::kCommitOffsets, &request).code ==
          ResponseCode::kInvalidParameter);
    CHECK(offset_of(query(f.native(), "T", 0)) == 100);
}

TEST_CASE("commits for what does not exist are refused") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(update(f.native(), "NOPE", 0, 1).code == ResponseCode::kTopicNotExist);
    CHECK(update(f.json(), "NOPE", 0, 1).code == ResponseCode::kTopicNotExist);
    CHECK(update(f.native(), "T", 4, 1).code == ResponseCode::kInvalidParameter);
    CHECK(update(f.json(), "T", 4, 1).code == ResponseCode::kSystemError);
    CHECK(update(f.native(), "T", 0, -1).summary() == "29 commitOffset -1 < 0, topic[T]");
    wire::UpdateConsumerOffsetRequest request = update_of("T", 0, 1);
    request.set_consumergroup("no such name");
    CHECK(f.native().call(RequestCode::kUpdateConsumerOffset, &request).code ==
          ResponseCode::kInvalidParameter);
}

TEST_CASE("an offset carried by a pull is committed") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"x"}, {"y"}}).summary() == "0");
    wire::PullMessageRequest request = pull_of("T", 0, 1);
    request.set_sysflag(request.sysflag() | 1);
    request.set_commitoffset(1);
    REQUIRE(f.json().call(RequestCode::kPullMessage, &request).summary() == "0 FOUND");
    CHECK(offset_of(query(f.json(), "T", 0)) == 1);
}

TEST_CASE("a new group starts at 0 where the first message is still there") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    CHECK(offset_of(query(f.json(), "T", 0)) == 0);
    wire::QueryConsumerOffsetRequest request;
    request.set_consumergroup("CG");
    request.set_topic("T");
    request.set_queueid(0);
    request.set_setzeroifnotfound(false);
    CHECK(f.json().call(RequestCode::kQueryConsumerOffset, &request).code ==
          ResponseCode::kQueryNotFound);
    CHECK(query(f.json(), "NOPE", 0).code == ResponseCode::kQueryNotFound);
}

TEST_CASE("the ends of a queue, and the messages at a time, are found") {
    BrokerFixture f;
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    wire::QueueRequest queue = queue_of("T", 1);
    CHECK(offset_of(f.json().call(RequestCode::kGetMaxOffset, &queue)) == 0);
    const Answer none = f.json().call(RequestCode::kGetEarliestMsgStoreTime, &queue);
    CHECK(none.fields<wire::TimestampResponse>().timestamp() == -1);
    REQUIRE(send(f.native(), "T", 1, {{"a"}, {"b"}, {"c"}}).summary() == "0");
    CHECK(offset_of(f.json().call(RequestCode::kGetMaxOffset, &queue)) == 3);
    CHECK(offset_of(f.native().call(RequestCode::kGetMinOffset, &queue)) == 0);
    const Answer earliest = f.json().call(RequestCode::kGetEarliestMsgStoreTime, &queue);
    const WallMs first = earliest.fields<wire::TimestampResponse>().timestamp();
    CHECK(first <= f.clock().wall_ms());
    CHECK(first > f.clock().wall_ms() - 60'000);

    wire::SearchOffsetRequest search;
    search.set_topic("T");
    search.set_queueid(1);
    search.set_timestamp(first);
    CHECK(offset_of(f.json().call(RequestCode::kSearchOffsetByTimestamp, &search)) == 0);
    search.set_timestamp(std::numeric_limits<std::int64_t>::max());
    CHECK(offset_of(f.native().call(RequestCode::kSearchOffsetByTimestamp, &search)) == 3);
    search.set_boundarytype("upper");
    CHECK(offset_of(f.native().call(RequestCode::kSearchOffsetByTimestamp, &search)) == 2);
}

TEST_CASE("unknown queues have offset 0 for stock clients and an error for ours") {
    BrokerFixture f;
    const wire::QueueRequest queue = queue_of("NOPE", 0);
    CHECK(offset_of(f.json().call(RequestCode::kGetMaxOffset, &queue)) == 0);
    CHECK(offset_of(f.json().call(RequestCode::kGetMinOffset, &queue)) == 0);
    CHECK(f.native().call(RequestCode::kGetMaxOffset, &queue).code == ResponseCode::kTopicNotExist);
    CHECK(f.native().call(RequestCode::kGetEarliestMsgStoreTime, &queue).code ==
          ResponseCode::kTopicNotExist);
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    const wire::QueueRequest outside = queue_of("T", 17);
    CHECK(f.native().call(RequestCode::kGetMinOffset, &outside).code ==
          ResponseCode::kInvalidParameter);
}

TEST_CASE("a missing or unreadable field is named") {
    BrokerFixture f;
    wire::QueueRequest queue;
    queue.set_topic("T");
    CHECK(f.json().call(RequestCode::kGetMaxOffset, &queue).summary() ==
          "1 the custom field <queueId> is null");
    CHECK(f.binary().call(RequestCode::kGetMaxOffset, &queue).code == ResponseCode::kSystemError);
}

TEST_SUITE_END();

}  // namespace gantry::broker
