// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "protocol/wire/header.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/raw_connection.h"

#include <doctest/doctest.h>

#include <cstdlib>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/bad_input");

namespace {

harness::RawConnection connect(BrokerFixture& f) {
    Result<harness::RawConnection> connection = harness::RawConnection::open(f.broker().port());
    REQUIRE(connection);
    return std::move(connection).value();
}

std::string frame_of(wire::Codec codec, RequestCode code, std::string_view body = {}) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.opaque = 5;
    std::string frame;
    wire::append_frame_head(frame, codec, header, body.size());
    return frame += body;
}

std::uint64_t seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

/// Sends `bytes` on a connection of its own and waits for the broker to close it.
void offend(BrokerFixture& f, const std::string& bytes) {
    harness::RawConnection connection = connect(f);
    if (connection.send(bytes)) {
        connection.finish_sending();
        (void)connection.receive_rest();
    }
}

void keep_one(BrokerFixture& f) {
    REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    REQUIRE(send(f.native(), "T", 0, {{"kept"}}).summary() == "0");
}

/// Goes on with the connection, the topic and the message of keep_one.
void check_unharmed(BrokerFixture& f) {
    CHECK(f.native().call(RequestCode::kGetAllTopicConfig).summary() == "0");
    CHECK(read_queue(f.native(), "T", 0) == std::vector<std::string>{"kept"});
    CHECK(send(f.native(), "T", 0, {{"x"}}).summary() == "0");
    f.restart();
    CHECK(read_queue(f.native(), "T", 0) == std::vector<std::string>{"kept", "x"});
}

}  // namespace

TEST_CASE("malformed, truncated and oversize frames cost nobody but their sender") {
    BrokerFixture f;
    keep_one(f);
    const std::string good = frame_of(wire::Codec::kJson, RequestCode::kGetAllTopicConfig);
    std::string unknown_codec = good;
    unknown_codec[4] = 9;
    offend(f, unknown_codec);
    offend(f, good.substr(0, good.size() - 3));
    offend(f, std::string("\x7f\xff\xff\xff\0\0\0\x10", 8));
    offend(f, std::string("\0\0\0\x02\0\0\0\0", 8));
    offend(f, std::string("\0\0\0\x08\0\0\0\xff{}{}", 12));
    offend(f, std::string("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    check_unharmed(f);
}

TEST_CASE("a header that does not parse but shows its number is answered before the end") {
    BrokerFixture f;
    keep_one(f);
    const std::string good = frame_of(wire::Codec::kJson, RequestCode::kGetAllTopicConfig);
    std::string broken = good;
    const std::size_t code = broken.find("\"code\":");
    REQUIRE(code != std::string::npos);
    broken[code + 6] = 'x';
    harness::RawConnection connection = connect(f);
    REQUIRE(connection.send(good + broken + good));
    CHECK(connection.receive_frame());
    const Result<std::string> second = connection.receive_frame();
    REQUIRE(second);
    CHECK_MESSAGE(second->find("\"code\":1,") != std::string::npos, *second);
    CHECK_MESSAGE(second->find("\"opaque\":5") != std::string::npos, *second);
    CHECK_MESSAGE(second->find("not JSON at byte") != std::string::npos, *second);
    CHECK(connection.receive_rest().value_or("more") == "");
    check_unharmed(f);
}

TEST_CASE("an unknown code in a raw frame is answered, and the connection goes on") {
    BrokerFixture f;
    harness::RawConnection connection = connect(f);
    REQUIRE(connection.send(frame_of(wire::Codec::kJson, static_cast<RequestCode>(999'999)) +
                            frame_of(wire::Codec::kNative, RequestCode::kGetAllTopicConfig)));
    const Result<std::string> first = connection.receive_frame();
    REQUIRE(first);
    CHECK_MESSAGE(first->find("999999 not supported") != std::string::npos, *first);
    CHECK(connection.receive_frame());
}

TEST_CASE("random frames and random bytes inside frames never stop the broker") {
    const std::uint64_t used = seed();
    CAPTURE(used);
    Random random(used);
    BrokerFixture f;
    keep_one(f);
    constexpr RequestCode kCodes[] = {RequestCode::kSendMessage,
                                      RequestCode::kSendMessageV2,
                                      RequestCode::kSendBatchMessage,
                                      RequestCode::kSendRecords,
                                      RequestCode::kPullMessage,
                                      RequestCode::kHeartBeat,
                                      RequestCode::kLockBatchMq,
                                      RequestCode::kUpdateAndCreateSubscriptionGroup,
                                      RequestCode::kUpdateAndCreateTopic,
                                      RequestCode::kCommitOffsets,
                                      RequestCode::kQueryMessage,
                                      RequestCode::kViewMessageById,
                                      RequestCode::kConsumerSendMsgBack};
    const auto noise = [&random](std::size_t bytes) {
        std::string text(bytes, '\0');
        for (char& c : text) {
            c = static_cast<char>(random.next());
        }
        return text;
    };
    for (int i = 0; i < 100; ++i) {
        std::string bytes;
        for (const RequestCode code : kCodes) {
            const auto codec = static_cast<wire::Codec>(random.below(3));
            bytes += frame_of(codec, code, noise(random.below(200)));
        }
        if (i % 2 == 0) {
            for (int flips = 0; flips < 3; ++flips) {
                char& hit = bytes[random.below(bytes.size())];
                hit = static_cast<char>(hit ^ (1 << random.below(8)));
            }
        }
        bytes += noise(random.below(64));
        offend(f, bytes);
    }
    check_unharmed(f);
}

TEST_CASE("one-way requests are never answered, not even with an error") {
    BrokerFixture f;
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(RequestCode::kGetMaxOffset);
    header.opaque = 1;
    header.is_oneway = true;
    std::string bytes;
    wire::append_frame_head(bytes, wire::Codec::kJson, header, 0);
    bytes += frame_of(wire::Codec::kJson, RequestCode::kGetAllTopicConfig);
    harness::RawConnection connection = connect(f);
    REQUIRE(connection.send(bytes));
    const Result<std::string> answer = connection.receive_frame();
    REQUIRE(answer);
    CHECK(answer->find("\"opaque\":5") != std::string::npos);
}

TEST_CASE("responses a client sends unasked are ignored") {
    BrokerFixture f;
    wire::HeaderToSend header;
    header.code = 0;
    header.opaque = 77;
    header.is_response = true;
    std::string bytes;
    wire::append_frame_head(bytes, wire::Codec::kNative, header, 0);
    bytes += frame_of(wire::Codec::kJson, RequestCode::kGetAllTopicConfig);
    harness::RawConnection connection = connect(f);
    REQUIRE(connection.send(bytes));
    const Result<std::string> answer = connection.receive_frame();
    REQUIRE(answer);
    CHECK(answer->find("\"opaque\":5") != std::string::npos);
}

TEST_SUITE_END();

}  // namespace gantry::broker
