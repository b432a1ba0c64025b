// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"
#include "protocol/wire/group.pb.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using Parts = std::vector<std::string>;

constexpr std::int64_t kBodyBytesMax = 1'000;

/// A broker with a topic "T" of two queues and one message, which no refused request may harm.
class Kept {
public:
    Kept()
        : fixture([](BrokerOptions& o) {
              o.message_bytes_max = kBodyBytesMax;
              o.loop_count = 2;
          }) {
        REQUIRE(fixture.create_topic("T", 2) == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, {{"kept"}}).summary() == "0");
        appended_ = fixture.broker().store().watermarks().appended;
        failed_ = failures();
    }

    /// A refusal with that code, whose text has all `parts`.
    void check(const Answer& answer, ResponseCode code, const Parts& parts) {
        CHECK_MESSAGE(answer.code == code, answer.summary());
        for (const std::string& part : parts) {
            CHECK_MESSAGE(answer.remark.find(part) != std::string::npos, answer.summary());
        }
        ++refused_;
    }

    /// A request without a body, in all codecs.
    void check_all(RequestCode code,
                   const google::protobuf::Message& fields,
                   ResponseCode native,
                   ResponseCode stock,
                   const Parts& parts) {
        check(fixture.native().call(code, &fields), native, parts);
        check(fixture.json().call(code, &fields), stock, parts);
        check(fixture.binary().call(code, &fields), stock, parts);
    }

    /// A stock send by all its codes, in both its codecs.
    void check_stock_send(const wire::SendMessageRequest& request,
                          const std::string& body,
                          ResponseCode code,
                          const Parts& parts) {
        for (RpcClient* const client : {&fixture.json(), &fixture.binary()}) {
            check(client->call(RequestCode::kSendMessage, &request, body), code, parts);
            check(client->call(RequestCode::kSendMessageV2, &request, body), code, parts);
        }
    }

    /// Nothing was written or lost, every refusal was counted, and the broker serves.
    void check_unharmed() {
        CHECK(fixture.broker().store().watermarks().appended == appended_);
        CHECK(failures() == failed_ + refused_);
        CHECK(read_queue(fixture.native(), "T", 0) == std::vector<std::string>{"kept"});
        CHECK(read_queue(fixture.native(), "T", 1).empty());
        CHECK(send(fixture.native(), "T", 1, {{"next"}}).summary() == "0");
        fixture.restart();
        CHECK(read_queue(fixture.native(), "T", 0) == std::vector<std::string>{"kept"});
        CHECK(read_queue(fixture.native(), "T", 1) == std::vector<std::string>{"next"});
    }

    BrokerFixture fixture;

private:
    double failures() {
        return fixture.broker().metrics().values()["gantry_broker_requests_failed_total"];
    }

    LogOffset appended_{};
    double failed_ = 0;
    int refused_ = 0;
};

wire::QueueRequest queue_of(const std::string& topic, std::int32_t queue_id) {
    wire::QueueRequest request;
    request.set_topic(topic);
    request.set_queueid(queue_id);
    return request;
}

wire::UpdateConsumerOffsetRequest commit_of(const std::string& group,
                                            const std::string& topic,
                                            std::int32_t queue_id) {
    wire::UpdateConsumerOffsetRequest request;
    request.set_consumergroup(group);
    request.set_topic(topic);
    request.set_queueid(queue_id);
    request.set_commitoffset(1);
    return request;
}

TEST_SUITE("broker/refusals") {
    TEST_CASE_FIXTURE(Kept, "an unknown topic is named to whoever sends to it, reads or commits") {
        const Parts name = {"topic[NOPE]"};
        check(send(fixture.native(), "NOPE", 0, {{"x"}}), ResponseCode::kTopicNotExist, name);
        check_stock_send(stock_send("NOPE", 0), "x", ResponseCode::kTopicNotExist, name);
        check_all(RequestCode::kPullMessage,
                  pull_of("NOPE", 0, 0),
                  ResponseCode::kTopicNotExist,
                  ResponseCode::kTopicNotExist,
                  name);
        check_all(RequestCode::kUpdateConsumerOffset,
                  commit_of("CG", "NOPE", 0),
                  ResponseCode::kTopicNotExist,
                  ResponseCode::kTopicNotExist,
                  name);
        const wire::QueueRequest queue = queue_of("NOPE", 0);
        check(fixture.native().call(RequestCode::kGetMaxOffset, &queue),
              ResponseCode::kTopicNotExist,
              name);
        check_unharmed();
    }

    TEST_CASE_FIXTURE(Kept, "an illegal topic name is refused with its value and the rule") {
        const std::string too_long(128, 'n');
        const std::vector<std::pair<std::string, Parts>> names = {
            {"bad name", {"topic \"bad name\"", "byte 32 at 3", "letters, digits"}},
            {"b\xc3\xa4", {"topic", "byte 195 at 1", "letters, digits"}},
            {too_long, {"topic of 128 B > 127 B", std::string(32, 'n') + "..."}},
            {"", {"topic is empty"}},
        };
        for (const auto& [name, parts] : names) {
            const std::string& tried = name;  // no macro of doctest may capture a binding
            CAPTURE(tried);
            check(send(fixture.native(), name, 0, {{"x"}}), ResponseCode::kInvalidParameter, parts);
            check_stock_send(stock_send(name, 0), "x", ResponseCode::kSystemError, parts);
            check(create_topic(fixture.native(), name), ResponseCode::kInvalidParameter, parts);
            check(create_topic(fixture.json(), name), ResponseCode::kSystemError, parts);
        }
        check_unharmed();
    }

    TEST_CASE_FIXTURE(Kept, "an illegal group name is refused with its value and the rule") {
        const std::vector<std::pair<std::string, Parts>> names = {
            {"bad group", {"group \"bad group\"", "byte 32 at 3", "letters, digits"}},
            {std::string(121, 'g'), {"group of 121 B > 120 B"}},
        };
        for (const auto& [name, parts] : names) {
            const std::string& tried = name;  // no macro of doctest may capture a binding
            CAPTURE(tried);
            check_all(RequestCode::kUpdateConsumerOffset,
                      commit_of(name, "T", 0),
                      ResponseCode::kInvalidParameter,
                      ResponseCode::kSystemError,
                      parts);
            wire::PullMessageRequest pull = pull_of("T", 0, 0);
            pull.set_consumergroup(name);
            check_all(RequestCode::kPullMessage,
                      pull,
                      ResponseCode::kInvalidParameter,
                      ResponseCode::kSystemError,
                      parts);
            wire::HeartbeatData beat;
            beat.set_clientid("c");
            beat.add_consumerdataset()->set_groupname(name);
            check(fixture.native().call_with_body(RequestCode::kHeartBeat, nullptr, beat),
                  ResponseCode::kInvalidParameter,
                  parts);
            check(fixture.json().call_with_body(RequestCode::kHeartBeat, nullptr, beat),
                  ResponseCode::kSystemError,
                  parts);
        }
        CHECK(fixture.broker().store().state().groups().empty());
        check_unharmed();
    }

    TEST_CASE_FIXTURE(Kept, "a body of the limit is taken, one byte more is refused") {
        const std::string most(kBodyBytesMax, 'm');
        const std::string over(kBodyBytesMax + 1, 'o');
        const Parts parts = {"body 1001 B > limits.message_bytes_max 1000 B"};
        check(send(fixture.native(), "T", 0, {{over}}), ResponseCode::kInvalidParameter, parts);
        check(send(fixture.native(), "T", 0, {{"a"}, {over}, {"b"}}),
              ResponseCode::kInvalidParameter,
              parts);
        check_stock_send(stock_send("T", 0), over, ResponseCode::kMessageIllegal, parts);
        std::string batch;
        wire::append_batch_element(batch, {0, as_bytes(over), {}});
        wire::SendMessageRequest request = stock_send("T", 0);
        request.set_batch(true);
        check(fixture.json().call(RequestCode::kSendBatchMessage, &request, batch),
              ResponseCode::kMessageIllegal,
              {"> limits.message_bytes_max 1000 B"});
        check_unharmed();

        REQUIRE(fixture.create_topic("MOST", 1) == ResponseCode::kSuccess);
        CHECK(send(fixture.native(), "MOST", 0, {{most}, {most}}).summary() == "0");
        const wire::SendMessageRequest stock = stock_send("MOST", 0);
        CHECK(fixture.json().call(RequestCode::kSendMessageV2, &stock, most).summary() == "0");
        CHECK(read_queue(fixture.native(), "MOST", 0) ==
              std::vector<std::string>{most, most, most});
    }

    TEST_CASE_FIXTURE(Kept, "properties over their limit are refused with both numbers") {
        const Parts parts = {"properties 32", "B > 32767 B"};
        wire::SendMessageRequest wide = stock_send("T", 0);
        wide.set_properties("a\x01" + std::string(32'766, 'v'));
        check_stock_send(wide, "x", ResponseCode::kMessageIllegal, parts);
        check_unharmed();
    }

    TEST_CASE_FIXTURE(Kept, "a queue id out of range is refused with the number of queues") {
        for (const std::int32_t id : {2, 65'536, 2'147'483'647}) {
            CAPTURE(id);
            const Parts parts = {"[" + std::to_string(id) + "]", "T", "2"};
            check(send(fixture.native(), "T", id, {{"x"}}), ResponseCode::kInvalidParameter, parts);
            check_stock_send(stock_send("T", id), "x", ResponseCode::kSystemError, parts);
            check_all(RequestCode::kPullMessage,
                      pull_of("T", id, 0),
                      ResponseCode::kInvalidParameter,
                      ResponseCode::kSystemError,
                      parts);
            check_all(RequestCode::kUpdateConsumerOffset,
                      commit_of("CG", "T", id),
                      ResponseCode::kInvalidParameter,
                      ResponseCode::kSystemError,
                      parts);
            const wire::QueueRequest queue = queue_of("T", id);
            check(fixture.native().call(RequestCode::kGetMinOffset, &queue),
                  ResponseCode::kInvalidParameter,
                  parts);
        }
        check(send(fixture.native(), "T", -1, {{"x"}}),
              ResponseCode::kInvalidParameter,
              {"[-1]", "2"});
        check_all(RequestCode::kPullMessage,
                  pull_of("T", -1, 0),
                  ResponseCode::kInvalidParameter,
                  ResponseCode::kSystemError,
                  {"[-1]", "2"});
        check_unharmed();
    }

    TEST_CASE_FIXTURE(Kept, "an unknown request code is named") {
        const wire::QueueRequest fields = queue_of("T", 0);
        for (const int code : {0, 4'711, 32'767}) {
            check_all(static_cast<RequestCode>(code),
                      fields,
                      ResponseCode::kRequestCodeNotSupported,
                      ResponseCode::kRequestCodeNotSupported,
                      {"request type " + std::to_string(code) + " not supported"});
        }
        check(fixture.json().call(RequestCode::kSendRecords, &fields, "records"),
              ResponseCode::kRequestCodeNotSupported,
              {"10001 is spoken natively only"});
        check_unharmed();
    }
}

}  // namespace
}  // namespace gantry::broker
