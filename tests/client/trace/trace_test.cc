// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"
#include "client/trace/trace_record.h"
#include "common/random.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "tests/client/fake_cluster.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace gantry::client::test {
namespace {

/// The trace records that the fake broker has.
std::vector<TraceRecord> traces(FakeCluster& cluster) {
    return cluster.run([&] {
        std::vector<TraceRecord> records;
        for (const StoredRecord& stored : cluster.broker().queues[{std::string(kTraceTopic), 0}]) {
            for (TraceRecord& record : parse_traces(stored.body)) {
                records.push_back(std::move(record));
            }
        }
        return records;
    });
}

std::vector<std::string> keys_of(FakeCluster& cluster) {
    return cluster.run([&] {
        std::vector<std::string> keys;
        for (const StoredRecord& stored : cluster.broker().queues[{"T", 0}]) {
            const wire::Record record = wire::parse_record(as_bytes(stored.bytes)).value();
            keys.emplace_back(wire::find_property(record.properties, wire::property::kUniqueKey));
        }
        return keys;
    });
}

}  // namespace

TEST_SUITE("client/trace") {
    TEST_CASE("records are written as RocketMQ's clients write them") {
        TraceRecord pub;
        pub.at_ms = 1'700'000'000'000;
        pub.group = "g";
        pub.topic = "T";
        pub.message_id = "7F01";
        pub.tags = "tag";
        pub.keys = "k1 k2";
        pub.store_host = "127.0.0.1:10911";
        pub.body_bytes = 5;
        pub.cost_ms = 3;
        pub.offset_message_id = "AA";
        std::string text;
        append_trace(text, pub);
        CHECK(text ==
              "Pub\x01"
              "1700000000000\x01"
              "DefaultRegion\x01g\x01T\x01"
              "7F01\x01tag\x01k1 k2\x01"
              "127.0.0.1:10911\x01"
              "5\x01"
              "3\x01"
              "0\x01"
              "AA\x01true\x02");
        TraceRecord after;
        after.kind = TraceRecord::Kind::kSubAfter;
        after.at_ms = 7;
        after.group = "c";
        after.request_id = "R";
        after.message_id = "7F01";
        after.is_success = false;
        after.context_code = 4;
        text.clear();
        append_trace(text, after);
        CHECK(text ==
              "SubAfter\x01R\x01"
              "7F01\x01"
              "0\x01"
              "false\x01null\x01"
              "4\x01"
              "7\x01"
              "c\x02");
    }

    TEST_CASE("what is written is read again, and what is none is left out") {
        std::string text;
        std::vector<TraceRecord> written;
        for (const auto kind : {TraceRecord::Kind::kPub,
                                TraceRecord::Kind::kSubBefore,
                                TraceRecord::Kind::kSubAfter,
                                TraceRecord::Kind::kEndTransaction}) {
            TraceRecord record;
            record.kind = kind;
            record.at_ms = 42;
            record.group = "g\x01h\x02";
            record.message_id = "id";
            record.request_id = "r";
            record.transaction_state = "COMMIT_MESSAGE";
            append_trace(text, record);
            text += "Pub\x01half\x02Nonsense\x02";
            written.push_back(record);
        }
        const std::vector<TraceRecord> read = parse_traces(text + "SubBefore");
        REQUIRE(read.size() == written.size());
        for (std::size_t i = 0; i < read.size(); ++i) {
            CHECK(read[i].kind == written[i].kind);
            CHECK(read[i].at_ms == 42);
            CHECK(read[i].group == "g h ");
            CHECK(read[i].message_id == "id");
        }
        CHECK(read[1].request_id == "r");
        CHECK(read[3].transaction_state == "COMMIT_MESSAGE");
        // A record of an old client, without the offset message id.
        const auto old = parse_traces(
            "Pub\x01"
            "5\x01r\x01g\x01T\x01id\x01t\x01k\x01h\x01"
            "9\x01"
            "8\x01"
            "0\x01"
            "true\x02");
        REQUIRE(old.size() == 1);
        CHECK(old[0].is_success);
        CHECK(old[0].offset_message_id.empty());
        CHECK(old[0].body_bytes == 9);
    }

    TEST_CASE("bytes at random are read without harm") {
        const std::uint64_t seed = test_seed();
        CAPTURE(seed);
        Random random(seed);
        for (int i = 0; i < 2'000; ++i) {
            std::string text;
            for (std::uint64_t n = random.below(200); n > 0; --n) {
                constexpr std::string_view kParts = "PubSAfterBore\x01\x02 0123";
                text += kParts[random.below(kParts.size())];
            }
            for (const char* const head : {"Pub\x01", "SubAfter\x01", "EndTransaction\x01", ""}) {
                CHECK(parse_traces(head + text).size() <= text.size() + 1);
            }
        }
    }

    TEST_CASE("the choice is by id: the same for all, a share of them, more with a larger share") {
        CHECK(is_traced("x", 1));
        CHECK_FALSE(is_traced("x", 0));
        CHECK_FALSE(is_traced("", 0.5));
        int tenth = 0;
        for (int i = 0; i < 10'000; ++i) {
            const std::string id = std::to_string(i);
            tenth += is_traced(id, 0.1) ? 1 : 0;
            CHECK((!is_traced(id, 0.1) || is_traced(id, 0.2)));
        }
        CHECK(tenth > 800);
        CHECK(tenth < 1'200);
    }

    TEST_CASE("a producer traces its sample, and only that has ids, sends do not wait for it") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        cluster.create_topic(std::string(kTraceTopic), 1);
        Producer::Options options;
        options.group = "PG";
        options.trace_sample = 0.2;
        const auto client = cluster.connect();
        auto producer = Producer::create(client, options).value();
        constexpr int kMessages = 1'000;
        for (int i = 0; i < kMessages; ++i) {
            Message message = message_of("T", "body");
            message.tag = "tag";
            message.keys = {"key"};
            REQUIRE(producer->send_async(std::move(message), [](const Result<SendReceipt>&) {}));
        }
        REQUIRE(producer->close(20s));
        std::vector<std::string> ids;
        for (const std::string& key : keys_of(cluster)) {
            if (!key.empty()) {
                CHECK(is_traced(key, 0.2));
                ids.push_back(key);
            }
        }
        CHECK(ids.size() > 100);
        CHECK(ids.size() < 300);
        const std::vector<TraceRecord> found = traces(cluster);
        REQUIRE(found.size() == ids.size());
        for (const TraceRecord& record : found) {
            CHECK(record.group == "PG");
            CHECK(record.topic == "T");
            CHECK(record.tags == "tag");
            CHECK(record.keys == "key");
            CHECK(record.body_bytes == 4);
            CHECK(record.is_success);
            CHECK(record.store_host == cluster.broker().address());
        }
        CHECK(client->metrics().values()["gantry_client_trace_records_total"] ==
              static_cast<double>(ids.size()));
    }

    TEST_CASE("traces that nobody takes are dropped and counted, and sends go on") {
        FakeCluster cluster;
        cluster.create_topic("T", 1);
        Producer::Options options;
        options.trace_sample = 1;
        const auto client = cluster.connect();
        auto producer = Producer::create(client, options).value();
        for (int i = 0; i < 10; ++i) {
            CHECK(producer->send(message_of("T", "body")));
        }
        REQUIRE(producer->close(20s));
        CHECK(client->metrics().values()["gantry_client_trace_dropped_total"] == 10);
        CHECK(cluster.stored_count("T") == 10);
        options.trace_sample = 1.5;
        CHECK(Producer::create(client, options).error().code == Errc::kRefused);
    }
}

}  // namespace gantry::client::test
