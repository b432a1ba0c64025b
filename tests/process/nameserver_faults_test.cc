// SPDX-License-Identifier: Apache-2.0
#include "common/bytes.h"
#include "common/random.h"
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/http_get.h"
#include "tests/harness/raw_connection.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

std::string u32(std::uint32_t value) {
    std::string bytes(4, '\0');
    store_be<std::uint32_t>(reinterpret_cast<std::byte*>(bytes.data()), value);
    return bytes;
}

/// A frame as its length word and codec word say, whatever they say.
std::string frame(std::uint32_t length, std::uint32_t codec_word, const std::string& rest) {
    return u32(length) + u32(codec_word) + rest;
}

std::string json_frame(const std::string& header, const std::string& body = "") {
    return frame(static_cast<std::uint32_t>(4 + header.size() + body.size()),
                 static_cast<std::uint32_t>(header.size()),
                 header + body);
}

std::uint64_t test_seed() {
    const char* const given = std::getenv("GANTRY_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : random_seed();
}

std::string random_bytes(Random& random, std::size_t count) {
    std::string bytes(count, '\0');
    for (char& c : bytes) {
        c = static_cast<char>(random.below(256));
    }
    return bytes;
}

/// A nameserver with one watched connection that must not notice anything.
class Bystander {
public:
    Bystander() : nameserver(directory.path(), "nameserver") {
        REQUIRE(nameserver.start().has_value());
        client.emplace(nameserver.address());
        REQUIRE(is_served());
    }

    /// Whether the bystander's connection, the same as ever, is answered.
    bool is_served() {
        wire::TopicRequest request;
        request.set_topic("TopicA");
        return client->call(wire::RequestCode::kGetRouteInfoByTopic, &request).code ==
               wire::ResponseCode::kTopicNotExist;
    }

    RawConnection connect() {
        Result<RawConnection> connection = RawConnection::open(nameserver.port());
        REQUIRE(connection.has_value());
        return std::move(connection).value();
    }

    TempDirectory directory;
    NameserverProcess nameserver;
    std::optional<RpcClient> client;
};

}  // namespace

TEST_SUITE("process/nameserver_faults") {
    TEST_CASE_FIXTURE(Bystander, "a malformed frame closes its own connection only") {
        const std::vector<std::pair<const char*, std::string>> bad = {
            {"length below 4", frame(3, 0, "")},
            {"length 0", frame(0, 0, "")},
            {"length above the limit", frame(0x7FFFFFFF, 0, "x")},
            {"length with the sign bit", frame(0xFFFFFFFF, 0, "x")},
            {"header longer than the frame", frame(8, 100, "1234")},
            {"unknown codec", frame(8, 0x63000004, "1234")},
            {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
            {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},
            {"header that is no JSON", json_frame("{\"code\":105,")},
            {"empty header", json_frame("")},
            {"binary header cut short", frame(8, 0x01000004, "\1\2\3\4")},
            {"native header of zeros", frame(8, 0x02000004, std::string(4, '\0'))},
        };
        for (const auto& fault : bad) {
            INFO("frame: ", fault.first);
            RawConnection connection = connect();
            CHECK(connection.send(fault.second).has_value());
            CHECK(connection.receive_rest().has_value());
            CHECK(is_served());
        }
        CHECK(nameserver.process().is_running());
    }

    TEST_CASE_FIXTURE(Bystander, "a malformed header with an opaque is answered before the close") {
        RawConnection connection = connect();
        CHECK(connection
                  .send(json_frame(
                      R"({"code":105,"opaque":77,"flag":0,"extFields":{"topic":{"a":1}}})"))
                  .has_value());
        const Result<std::string> answer = connection.receive_frame();
        REQUIRE_MESSAGE(answer.has_value(), (answer ? "" : to_string(answer.error())));
        CHECK_MESSAGE(answer->find("\"opaque\":77") != std::string::npos, *answer);
        CHECK(is_served());
    }

    TEST_CASE_FIXTURE(Bystander, "a body that does not parse is refused and the connection stays") {
        RawConnection connection = connect();
        const std::string header =
            R"({"code":103,"opaque":5,"flag":0,"extFields":{"brokerName":"b","brokerAddr":)"
            R"("127.0.0.1:1","clusterName":"c","brokerId":"0"}})";
        for (const std::string& body : {std::string("{\"topic"),
                                        std::string("\x78\x9c\x01\x02"),
                                        std::string(10'000, '['),
                                        std::string("\xFF\xFF")}) {
            CHECK(connection.send(json_frame(header, body)).has_value());
            const Result<std::string> answer = connection.receive_frame();
            REQUIRE_MESSAGE(answer.has_value(), (answer ? "" : to_string(answer.error())));
            CHECK_MESSAGE(answer->find("\"code\":0,") == std::string::npos, *answer);
        }
        CHECK(is_served());
        CHECK(metric(nameserver.http_port(), "gantry_nameserver_refused_registrations_total")
                  .value_or(-1) == 4);
    }

    TEST_CASE_FIXTURE(Bystander, "truncated frames leave no trace") {
        const std::string whole =
            json_frame(R"({"code":105,"opaque":7,"flag":0,"extFields":{"topic":"TopicA"}})");
        for (std::size_t size = 1; size < whole.size(); size += 7) {
            RawConnection connection = connect();
            CHECK(connection.send(whole.substr(0, size)).has_value());
            connection.finish_sending();
            CHECK(connection.receive_rest().value_or("error") == "");
        }
        CHECK(is_served());
        CHECK(wait_until(Process::kPatience, [&] {
            return metric(nameserver.http_port(), "gantry_nameserver_connections").value_or(-1) ==
                   1;
        }));
    }

    TEST_CASE_FIXTURE(Bystander, "random bytes and random frames do no harm") {
        const std::uint64_t seed = test_seed();
        MESSAGE("GANTRY_TEST_SEED=" << seed);
        Random random(seed);
        for (int round = 0; round < 300; ++round) {
            RawConnection connection = connect();
            std::string bytes = random_bytes(random, 1 + random.below(300));
            if (round % 3 != 0) {
                // A true prefix, so that the header codecs see the bytes.
                const auto size = static_cast<std::uint32_t>(bytes.size());
                const auto header = static_cast<std::uint32_t>(random.below(size + 1));
                const auto codec = static_cast<std::uint32_t>(random.below(3));
                bytes = frame(4 + size, (codec << 24U) | header, bytes);
            }
            // The other end may be closed already.
            static_cast<void>(connection.send(bytes));
            connection.finish_sending();
            static_cast<void>(connection.receive_rest());
        }
        CHECK(is_served());
        CHECK(nameserver.process().is_running());
    }

    TEST_CASE_FIXTURE(Bystander, "a client that never reads does not delay others") {
        wire::RegisterBrokerRequest request;
        request.set_brokername("broker-a");
        request.set_brokeraddr("127.0.0.1:10911");
        request.set_clustername("east");
        request.set_brokerid(0);
        wire::RegisterBrokerBody body;
        for (int i = 0; i < 5'000; ++i) {
            const std::string topic = "a-topic-with-a-name-of-some-length-" + std::to_string(i);
            (*body.mutable_topicconfigserializewrapper()->mutable_topicconfigtable())[topic]
                .set_topicname(topic);
        }
        CHECK(
            client->call_with_body(wire::RequestCode::kRegisterBroker, &request, body).summary() ==
            "0");
        RawConnection greedy = connect();
        const std::string ask = json_frame(R"({"code":206,"opaque":1,"flag":0})");
        std::string many;
        for (int i = 0; i < 500; ++i) {
            many += ask;
        }
        CHECK(greedy.send(many).has_value());
        CHECK(is_served());
        // Reading resumes where it stopped: every request gets its answer.
        for (int i = 0; i < 500; ++i) {
            const Result<std::string> answer = greedy.receive_frame();
            REQUIRE_MESSAGE(answer.has_value(), (answer ? "" : to_string(answer.error())));
        }
        CHECK(is_served());
    }
}

}  // namespace gantry::harness
