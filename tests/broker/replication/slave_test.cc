// SPDX-License-Identifier: Apache-2.0
// What a slave serves, what it refuses, and where it sends its readers.
#include "protocol/wire/group.pb.h"
#include "protocol/wire/replication.pb.h"
#include "tests/broker/replication/serving_fixture.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace gantry::broker {
namespace {

wire::PullMessageResponse where(const Answer& answer) {
    return answer.fields<wire::PullMessageResponse>();
}

/// Three messages in queue 0 of "T", and then the master has become a slave.
class Deposed : public ServingFixture {
public:
    Deposed() : Deposed([](BrokerOptions&) {}) {}

    explicit Deposed(const std::function<void(BrokerOptions&)>& adjust) : ServingFixture(adjust) {
        REQUIRE(create_topic("T") == ResponseCode::kSuccess);
        for (const char* const body : {"0", "1", "2"}) {
            REQUIRE(confirmed(start_send("T", body)).code == ResponseCode::kSuccess);
        }
        replica.its_role = ReplicaRole::kSlave;
    }

    Answer pull(std::int64_t offset, std::int32_t count = 32) {
        wire::PullMessageRequest request = pull_of("T", 0, offset);
        request.set_maxmsgnums(count);
        return native().call(RequestCode::kPullMessage, &request);
    }
};

/// Copies what the leader's log has, and its slave has not, as replication does.
void copy_log(ServingFixture& leader, ServingFixture& follower) {
    while (follower.end() < leader.end()) {
        const LogOffset at = follower.end();
        const Result<storage::LogPiece> piece = leader.store().replica().piece(at, 1U << 20U);
        REQUIRE(piece);
        std::vector<std::byte> bytes(piece->run.length);
        if (piece->run.memory.empty()) {
            const auto from = static_cast<::off_t>(piece->run.file_offset);
            REQUIRE(::pread(piece->run.fd, bytes.data(), bytes.size(), from) ==
                    static_cast<::ssize_t>(bytes.size()));
        } else {
            bytes.assign(piece->run.memory.begin(), piece->run.memory.end());
        }
        REQUIRE(follower.store().replica().append_raw(at, bytes));
    }
    follower.confirm_all();
}

}  // namespace

TEST_SUITE("broker/replication/slave") {
    TEST_CASE_FIXTURE(Deposed, "what changes something is refused, with the master's address") {
        const LogOffset before = end();
        for (const RequestCode code : {RequestCode::kUpdateAndCreateTopic,
                                       RequestCode::kSendRecords,
                                       RequestCode::kCommitOffsets,
                                       RequestCode::kLockQueues,
                                       RequestCode::kShareQueues,
                                       RequestCode::kPopMessage,
                                       RequestCode::kSettlePops,
                                       RequestCode::kSetFlowLimit}) {
            const Answer answer = native().call(code);
            CHECK_MESSAGE(answer.code == ResponseCode::kNotMaster, answer.summary());
            CHECK(answer.fields<wire::NotMasterResponse>().masteraddress() == "10.0.0.9:10911");
        }
        for (const auto& [code, expected] :
             {std::pair(RequestCode::kSendMessage, ResponseCode::kServiceNotAvailable),
              std::pair(RequestCode::kSendMessageV2, ResponseCode::kServiceNotAvailable),
              std::pair(RequestCode::kSendBatchMessage, ResponseCode::kServiceNotAvailable),
              std::pair(RequestCode::kEndTransaction, ResponseCode::kSlaveNotAvailable),
              std::pair(RequestCode::kRecallMessage, ResponseCode::kSlaveNotAvailable),
              std::pair(RequestCode::kUpdateAndCreateTopic, ResponseCode::kSystemError),
              std::pair(RequestCode::kUpdateConsumerOffset, ResponseCode::kSystemError),
              std::pair(RequestCode::kLockBatchMq, ResponseCode::kSystemError),
              std::pair(RequestCode::kConsumerSendMsgBack, ResponseCode::kSystemError)}) {
            const Answer answer = json().call(code);
            CHECK_MESSAGE(answer.code == expected, answer.summary());
        }
        CHECK(end() == before);
    }

    TEST_CASE_FIXTURE(Deposed, "messages, offsets and topics are served") {
        const Answer found = pull(0);
        CHECK(found.code == ResponseCode::kSuccess);
        CHECK(bodies(found.body) == std::vector<std::string>{"0", "1", "2"});
        wire::QueueRequest queue;
        queue.set_topic("T");
        queue.set_queueid(0);
        CHECK(json()
                  .call(RequestCode::kGetMaxOffset, &queue)
                  .fields<wire::OffsetResponse>()
                  .offset() == 3);
        wire::TopicRequest topic;
        topic.set_topic("T");
        CHECK(json().call(RequestCode::kGetTopicConfig, &topic).code == ResponseCode::kSuccess);
        CHECK(json().call(RequestCode::kGetBrokerRuntimeInfo).code == ResponseCode::kSuccess);
        const wire::ReplicaStatusRequest ask;
        const Answer status = native().call(RequestCode::kReplicaStatus, &ask);
        CHECK(!status.fields<wire::ReplicaStatus>().ismaster());
    }

    TEST_CASE_FIXTURE(Deposed, "members heartbeat, and nothing is made for them") {
        const LogOffset before = end();
        wire::HeartbeatData beat;
        beat.set_clientid("c1");
        beat.add_consumerdataset()->set_groupname("NEW");
        const Answer answer = json().call_with_body(RequestCode::kHeartBeat, nullptr, beat);
        CHECK(answer.code == ResponseCode::kSuccess);
        wire::ConsumerGroupRequest ask;
        ask.set_consumergroup("NEW");
        const Answer members = json().call(RequestCode::kGetConsumerListByGroup, &ask);
        CHECK(members.body_as<wire::ConsumerIdList>().consumeridlist_size() == 1);
        CHECK(end() == before);
    }

    TEST_CASE_FIXTURE(Deposed, "the offset in a pull is not committed") {
        constexpr std::int32_t kHasCommit = 1;
        const LogOffset before = end();
        wire::PullMessageRequest request = pull_of("T", 0, 1);
        request.set_sysflag(request.sysflag() | kHasCommit);
        request.set_commitoffset(1);
        CHECK(json().call(RequestCode::kPullMessage, &request).code == ResponseCode::kSuccess);
        CHECK(!store().state().offset("CG", "T", 0));
        CHECK(end() == before);
    }

    TEST_CASE_FIXTURE(Deposed, "who has read everything is sent back to the master") {
        CHECK(where(pull(0, 1)).suggestwhichbrokerid() == 2);
        CHECK(where(pull(0)).suggestwhichbrokerid() == 0);
        const Answer end_of_queue = pull(3);
        CHECK(end_of_queue.code == ResponseCode::kPullRetryImmediately);
        CHECK(where(end_of_queue).nextbeginoffset() == 3);
        CHECK(where(end_of_queue).suggestwhichbrokerid() == 0);
        replica.knows_master = false;
        CHECK(pull(3).code == ResponseCode::kPullNotFound);
    }

    TEST_CASE_FIXTURE(Deposed, "an offset it does not have is not corrected") {
        const Answer ahead = pull(7);
        CHECK(ahead.code == ResponseCode::kPullRetryImmediately);
        CHECK(where(ahead).nextbeginoffset() == 7);
        const wire::PullMessageRequest held = held_pull_of("T", 0, 7, 60'000);
        const auto asked_at = std::chrono::steady_clock::now();
        const Answer later = native().call(RequestCode::kPullMessage, &held);
        CHECK(later.code == ResponseCode::kPullRetryImmediately);
        CHECK(where(later).nextbeginoffset() == 7);
        // Neither at once, which makes a busy loop, nor as late as it might.
        const auto took = std::chrono::steady_clock::now() - asked_at;
        CHECK(took > std::chrono::milliseconds(300));
        CHECK(took < std::chrono::seconds(10));
    }

    TEST_CASE("replication.slave_reads off: reads go to the master too") {
        Deposed fixture([](BrokerOptions& o) { o.replication.slave_reads = false; });
        CHECK(fixture.pull(0).code == ResponseCode::kNotMaster);
        fixture.replica.its_role = ReplicaRole::kMaster;
        CHECK(fixture.pull(0).code == ResponseCode::kSuccess);
    }

    TEST_CASE("a slave's readers get what comes by replication, topics too") {
        ServingFixture leader;
        ServingFixture follower({}, true);
        REQUIRE(leader.create_topic("T") == ResponseCode::kSuccess);
        copy_log(leader, follower);
        const wire::PullMessageRequest pull = held_pull_of("T", 0, 0, 20'000);
        std::future<Answer> parked = follower.native().start(RequestCode::kPullMessage, &pull);
        std::future<Answer> sent = leader.start_send("T", "one");
        Answer found = parked.get();
        // The slave does not hold a pull for long: it may have been answered before.
        while (found.code == ResponseCode::kPullRetryImmediately) {
            parked = follower.native().start(RequestCode::kPullMessage, &pull);
            copy_log(leader, follower);
            found = parked.get();
        }
        CHECK(found.code == ResponseCode::kSuccess);
        CHECK(bodies(found.body) == std::vector<std::string>{"one"});
        CHECK(leader.confirmed(std::move(sent)).code == ResponseCode::kSuccess);
        CHECK(follower.start_send("T", "two").get().code == ResponseCode::kNotMaster);
    }

    TEST_CASE("who reads from the master's disk is sent to a slave") {
        ServingFixture fixture([](BrokerOptions& o) {
            o.store_flush = "sync";
            o.message_bytes_max = 64 << 10;
            o.store_segment_bytes = 1 << 20;
            o.store_prefault_bytes = 0;
            o.store_hot_bytes = 0;
        });
        REQUIRE(fixture.create_topic("T") == ResponseCode::kSuccess);
        const std::string body(32'000, 'x');
        for (int i = 0; i < 80; ++i) {
            REQUIRE(fixture.confirmed(fixture.start_send("T", body)).code ==
                    ResponseCode::kSuccess);
        }
        fixture.replica.reader = 2;
        const wire::PullMessageRequest last = pull_of("T", 0, 79);
        const auto ask = [&](const wire::PullMessageRequest& request) {
            return where(fixture.native().call(RequestCode::kPullMessage, &request))
                .suggestwhichbrokerid();
        };
        CHECK(ask(last) == 0);
        const storage::Queue& queue = *fixture.store().find_topic("T")->queue(0);
        const storage::ReadRequest one{.from = QueueOffset(0), .count_max = 1};
        const bool is_cold = harness::wait_until(std::chrono::seconds(10), [&] {
            for (const storage::LogRun& run : fixture.store().read(queue, one).runs) {
                ::posix_fadvise(run.fd, 0, 0, POSIX_FADV_DONTNEED);
            }
            return fixture.store().read(queue, one).is_cold;
        });
        if (!is_cold) {
            MESSAGE("the file system keeps everything in memory");
            return;
        }
        CHECK(ask(pull_of("T", 0, 0)) == 2);
    }
}

}  // namespace gantry::broker
