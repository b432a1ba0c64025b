// SPDX-License-Identifier: Apache-2.0
#include "client/consume/decompress.h"
#include "client/consumer.h"
#include "client/produce/compress.h"
#include "client/producer.h"
#include "common/random.h"
#include "protocol/wire/record.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

using Method = Compression::Method;

constexpr Method kMethods[] = {Method::kZlib, Method::kLz4, Method::kZstd};

Compression by(Method method, std::uint32_t body_bytes_min = 0) {
    Compression compression;
    compression.method = method;
    compression.body_bytes_min = body_bytes_min;
    return compression;
}

std::string noise(std::size_t bytes) {
    Random random(1);
    std::string text(bytes, '\0');
    for (char& c : text) {
        c = static_cast<char>(random.below(256));
    }
    return text;
}

}  // namespace

TEST_SUITE("client/compression") {
    TEST_CASE("what is compressed gets smaller, and is what it was when decompressed") {
        for (const Method method : kMethods) {
            for (const std::size_t bytes :
                 std::initializer_list<std::size_t>{100, 4'096, 100'000, 3'000'000}) {
                std::string text;
                while (text.size() < bytes) {
                    text += "line " + std::to_string(text.size() % 1'000) + '\n';
                }
                std::string body = text;
                const std::int32_t flags = compress_body(body, by(method));
                CAPTURE(bytes);
                REQUIRE((flags & wire::sys_flag::kCompressed) != 0);
                CHECK(body.size() < text.size());
                const Result<std::string> back = decompress_body(as_bytes(body), flags);
                REQUIRE(back.has_value());
                CHECK(*back == text);
            }
        }
    }

    TEST_CASE("blocks of an LZ4 frame are independent, as stock consumers need them") {
        std::string body(1'000'000, 'a');
        REQUIRE(compress_body(body, by(Method::kLz4)) != 0);
        constexpr std::size_t kFlagsAt = 4;  // behind the frame's magic number
        CHECK((static_cast<unsigned>(body[kFlagsAt]) & 0x20U) != 0);
    }

    TEST_CASE("what gets no smaller, is small or empty is left as it is") {
        for (const Method method : kMethods) {
            for (const std::string& text : {std::string(), std::string("x"), noise(10'000)}) {
                std::string body = text;
                CHECK(compress_body(body, by(method)) == 0);
                CHECK(body == text);
            }
            std::string body(4'095, 'a');
            CHECK(compress_body(body, by(method, 4'096)) == 0);
            body.push_back('a');
            CHECK(compress_body(body, by(method, 4'096)) != 0);
        }
        std::string body(10'000, 'a');
        CHECK(compress_body(body, by(Method::kNone)) == 0);
    }

    TEST_CASE("a level that the method does not have is refused, all others work") {
        const auto client = FakeCluster().connect();

        struct Range {
            Method method;
            std::int32_t least;
            std::int32_t most;
        };

        for (const Range& range : {Range{Method::kZlib, 1, 9},
                                   Range{Method::kLz4, 0, 12},
                                   Range{Method::kZstd, 1, 19}}) {
            Compression compression = by(range.method);
            for (const std::int32_t level : {range.least, range.most, -1}) {
                compression.level = level;
                CHECK(check_compression(compression));
                std::string body(10'000, 'a');
                CHECK(compress_body(body, compression) != 0);
            }
            for (const std::int32_t level : {range.least - 1, range.most + 1}) {
                if (level == -1) {
                    continue;
                }
                compression.level = level;
                Producer::Options options;
                options.compression = compression;
                const auto producer = Producer::create(client, options);
                REQUIRE_FALSE(producer);
                CHECK(producer.error().detail.find("compression.level " + std::to_string(level)) ==
                      0);
            }
        }
    }

    TEST_CASE("a producer's compressed messages are stored so, and read as they were") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        const std::shared_ptr<Client> client = cluster.connect();
        const std::string text(50'000, 'a');
        for (const Method method : kMethods) {
            Producer::Options options;
            options.compression = by(method);
            options.idempotent = method == Method::kLz4;
            auto producer = Producer::create(client, options).value();
            REQUIRE(producer->send(message_of("T", text)));
        }
        cluster.run([&] {
            for (const StoredRecord& record : cluster.broker().queues[{"T", 0}]) {
                CHECK(record.bytes.size() < 1'000);
            }
        });
        PullConsumer::Options options;
        options.start_from.kind = StartFrom::Kind::kFirst;
        auto consumer = PullConsumer::create(client, options).value();
        REQUIRE(consumer->assign({{"T", "broker-a", 0}}));
        std::vector<std::string> bodies;
        CHECK(wait_until([&] {
            for (const MessageView& message : consumer->poll(10ms)) {
                bodies.emplace_back(message.body());
            }
            return bodies.size() == 3;
        }));
        CHECK(bodies == std::vector<std::string>(3, text));
    }
}

}  // namespace gantry::client::test
