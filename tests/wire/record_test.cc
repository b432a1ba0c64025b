// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/record.h"

#include "tests/wire/hex.h"

#include <doctest/doctest.h>

namespace gantry::wire {
namespace {

Host host(std::string_view text) {
    auto parsed = parse_host(text);
    REQUIRE(parsed);
    return *parsed;
}

std::string encode(const Record& record) {
    std::string bytes(record_bytes(record), '\0');
    encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    return bytes;
}

Record sample(std::string_view topic) {
    return {.queue_id = 3,
            .flag = 77,
            .queue_offset = QueueOffset(5),
            .log_offset = LogOffset(1234),
            .sys_flag = sys_flag::kCompressed,
            .born_ms = 1'700'000'000'000,
            .born_host = host("10.0.0.1:4000"),
            .store_ms = 1'700'000'000'123,
            .store_host = host("10.0.0.2:10911"),
            .reconsume_times = 2,
            .prepared_transaction_offset = -9,
            .body = as_bytes("the body"),
            .topic = topic,
            .properties = "TAGS\x01t"};
}

void check_equal(const Record& a, const Record& b) {
    CHECK(a.queue_id == b.queue_id);
    CHECK(a.flag == b.flag);
    CHECK(a.queue_offset == b.queue_offset);
    CHECK(a.log_offset == b.log_offset);
    CHECK(a.born_ms == b.born_ms);
    CHECK(a.born_host == b.born_host);
    CHECK(a.store_ms == b.store_ms);
    CHECK(a.store_host == b.store_host);
    CHECK(a.reconsume_times == b.reconsume_times);
    CHECK(a.prepared_transaction_offset == b.prepared_transaction_offset);
    CHECK(as_text(a.body) == as_text(b.body));
    CHECK(a.topic == b.topic);
    CHECK(a.properties == b.properties);
}

}  // namespace

TEST_SUITE("wire/record") {
    TEST_CASE("every version and address family goes there and back") {
        for (const std::size_t topic_bytes : {0U, 1U, 127U, 128U, 255U}) {
            for (const char* born : {"10.0.0.1:4000", "[fd00::1]:4000"}) {
                for (const char* store : {"10.0.0.2:10911", "[fd00::2]:10911"}) {
                    const std::string topic(topic_bytes, 't');
                    Record record = sample(topic);
                    record.born_host = host(born);
                    record.store_host = host(store);
                    const std::string bytes = encode(record);
                    CHECK(load_be<std::uint32_t>(as_bytes(bytes).data() + record_at::kMagic) ==
                          (topic_bytes > 127 ? kMagicV2 : kMagicV1));
                    const std::string padded = bytes + "more";
                    const auto parsed = parse_record(as_bytes(padded));
                    REQUIRE(parsed);
                    CHECK(parsed->stored_bytes == bytes.size());
                    check_equal(*parsed, record);
                    CHECK(body_crc_matches(*parsed));
                    CHECK(((parsed->sys_flag & sys_flag::kBornHostV6) != 0) ==
                          record.born_host.is_v6);
                    CHECK(((parsed->sys_flag & sys_flag::kStoreHostV6) != 0) ==
                          record.store_host.is_v6);
                }
            }
        }
    }

    TEST_CASE("the smallest record has 91 bytes") {
        CHECK(record_bytes({}) == kRecordBytesMin);
        const std::string bytes = encode({});
        CHECK(parse_record(as_bytes(bytes)));
    }

    TEST_CASE("a flipped body bit fails its CRC only") {
        std::string bytes = encode(sample("t"));
        bytes[88] = static_cast<char>(bytes[88] ^ 1);
        const auto parsed = parse_record(as_bytes(bytes));
        REQUIRE(parsed);
        CHECK_FALSE(body_crc_matches(*parsed));
    }

    TEST_CASE("a patch sets offsets, store time and store host and nothing else") {
        for (const char* born : {"10.0.0.1:4000", "[fd00::1]:4000"}) {
            for (const char* store : {"10.9.9.9:1", "[fd00::9]:1"}) {
                Record record = sample("topic");
                record.born_host = host(born);
                record.store_host.is_v6 = host(store).is_v6;
                std::string bytes = encode(record);
                record.queue_offset = QueueOffset(99);
                record.log_offset = LogOffset(100'000);
                record.store_ms = 42;
                record.store_host = host(store);
                patch_record(reinterpret_cast<std::byte*>(bytes.data()),
                             {.queue_offset = record.queue_offset,
                              .log_offset = record.log_offset,
                              .store_ms = record.store_ms,
                              .store_host = record.store_host});
                CHECK(bytes == encode(record));
            }
        }
    }

    TEST_CASE("bytes that are no record are corrupt") {
        const std::string good = encode(sample("topic"));
        const auto broken = [&good](std::size_t at, std::string_view hex) {
            std::string bytes = good;
            const std::string patch = from_hex(hex);
            bytes.replace(at, patch.size(), patch);
            const auto parsed = parse_record(as_bytes(bytes));
            REQUIRE_FALSE(parsed);
            CHECK_FALSE(parsed.error().detail.empty());
            return parsed.error().code;
        };
        CHECK(broken(record_at::kMagic, "cbd43194") == Errc::kCorrupt);
        CHECK(broken(record_at::kMagic, "00000000") == Errc::kCorrupt);
        CHECK(broken(record_at::kSize, "00000000") == Errc::kCorrupt);
        CHECK(broken(record_at::kSize, "ffffffff") == Errc::kCorrupt);
        CHECK(broken(record_at::kSize, "7fffffff") == Errc::kCorrupt);
        CHECK(broken(record_at::kSize, "0000005b") == Errc::kCorrupt);
        CHECK(broken(record_at::kSysFlag, "00000030") == Errc::kCorrupt);
        CHECK(broken(84, "ffffffff") == Errc::kCorrupt);
        CHECK(broken(84, "00000009") == Errc::kCorrupt);
        CHECK(broken(96, "80") == Errc::kCorrupt);
        CHECK(broken(102, "8000") == Errc::kCorrupt);
        CHECK_FALSE(parse_record({}));
    }

    TEST_CASE("records laid end to end are walked until the first error") {
        const std::string two = encode(sample("one")) + encode(sample("two"));
        std::string topics;
        const auto collect = [&topics](const std::byte*, const Record& record) {
            topics += record.topic;
            return ok();
        };
        CHECK(for_each_record(as_bytes(two), collect));
        CHECK(topics == "onetwo");
        topics.clear();
        const auto cut = for_each_record(as_bytes(two).first(two.size() - 1), collect);
        REQUIRE_FALSE(cut);
        CHECK(cut.error().code == Errc::kCorrupt);
        CHECK(topics == "one");
        const auto refuse = [](const std::byte*, const Record&) -> Status {
            return Error{Errc::kRefused, "stop"};
        };
        CHECK(for_each_record(as_bytes(two), refuse).error().detail == "stop");
    }
}

}  // namespace gantry::wire
