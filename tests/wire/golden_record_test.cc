// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "tests/wire/golden.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace gantry::wire {
namespace {

Host host(const std::string& text) {
    auto parsed = parse_host(text);
    REQUIRE(parsed);
    return *parsed;
}

void check_record(const std::string& name, const Record& record) {
    CAPTURE(name);
    const std::string bytes = golden(name);
    REQUIRE(record_bytes(record) == bytes.size());
    std::string encoded(bytes.size(), '\0');
    encode_record(record, {reinterpret_cast<std::byte*>(encoded.data()), encoded.size()});
    CHECK(to_hex(encoded) == to_hex(bytes));
    const auto parsed = parse_record(as_bytes(bytes));
    REQUIRE(parsed);
    CHECK(parsed->stored_bytes == bytes.size());
    CHECK(body_crc_matches(*parsed));
    CHECK(parsed->queue_id == record.queue_id);
    CHECK(parsed->flag == record.flag);
    CHECK(parsed->queue_offset == record.queue_offset);
    CHECK(parsed->log_offset == record.log_offset);
    CHECK((parsed->sys_flag & 0xF) == record.sys_flag);
    CHECK(parsed->born_ms == record.born_ms);
    CHECK(parsed->born_host == record.born_host);
    CHECK(parsed->store_ms == record.store_ms);
    CHECK(parsed->store_host == record.store_host);
    CHECK(parsed->reconsume_times == record.reconsume_times);
    CHECK(parsed->prepared_transaction_offset == record.prepared_transaction_offset);
    CHECK(as_text(parsed->body) == as_text(record.body));
    CHECK(parsed->topic == record.topic);
    CHECK(parsed->properties == record.properties);
}

// Walks over rows of counted texts and numbers.
std::string_view take_counted(ByteReader& reader) {
    return as_text(reader.take(reader.read<std::uint8_t>()));
}

}  // namespace

TEST_SUITE("wire/golden_record") {
    TEST_CASE("both versions with hosts of both families") {
        for (const int version : {1, 2}) {
            for (const char family : {'4', '6'}) {
                for (const char store_family : {'4', '6'}) {
                    const std::string topic(version == 1 ? 127 : 128, 't');
                    const Record record = {
                        .queue_id = 3,
                        .flag = -7,
                        .queue_offset = QueueOffset(5'000'000'000),
                        .log_offset = LogOffset(std::int64_t{1} << 40U),
                        .sys_flag = 9,
                        .born_ms = 1'700'000'000'000,
                        .born_host = host(family == '4' ? "10.0.0.1:4000" : "[fd00::1]:4000"),
                        .store_ms = 1'700'000'000'123,
                        .store_host =
                            host(store_family == '4' ? "10.0.0.2:10911" : "[fd00::2]:10911"),
                        .reconsume_times = 2,
                        .prepared_transaction_offset = -9,
                        .body = as_bytes({"the \x00 body", 10}),
                        .topic = topic,
                        .properties = "TAGS\x01\xc3\xa9"};
                    check_record("record_v" + std::to_string(version) + "_born" + family +
                                     "_store" + store_family,
                                 record);
                }
            }
        }
    }

    TEST_CASE("the record a stock broker stored") {
        CHECK(golden("record_reference").size() == 201);
        check_record("record_reference",
                     {.queue_id = 1,
                      .born_ms = 0x1A1FB5024CC,
                      .born_host = host("127.0.0.1:51020"),
                      .store_ms = 0x1A1FB5024DA,
                      .store_host = host("127.0.0.1:10911"),
                      .body = as_bytes("hello"),
                      .topic = "TopicA",
                      .properties = "color\x01red\x02KEYS\x01key1 key2\x02UNIQ_KEY\x01"
                                    "7F00000164535FFD2B2766E83CCA0000\x02"
                                    "CLUSTER\x01"
                                    "DefaultCluster\x02TAGS\x01TagA"});
    }

    TEST_CASE("a batch") {
        const std::string bytes = golden("batch");
        std::string every_byte(256, '\0');
        std::generate(every_byte.begin(), every_byte.end(), [next = 0]() mutable {
            return static_cast<char>(next++);
        });
        const BatchElement elements[] = {
            {.body = as_bytes("batch0"),
             .properties = "KEYS\x01"
                           "bk0\x02WAIT\x01true"},
            {.flag = -1},
            {.flag = 5, .body = as_bytes(every_byte), .properties = "TAGS\x01t"}};
        std::string encoded;
        for (const BatchElement& element : elements) {
            append_batch_element(encoded, element);
        }
        CHECK(to_hex(encoded) == to_hex(bytes));
        const auto parsed = parse_batch(as_bytes(bytes), 3);
        REQUIRE(parsed);
        REQUIRE(parsed->size() == 3);
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK((*parsed)[i].flag == elements[i].flag);
            CHECK(as_text((*parsed)[i].body) == as_text(elements[i].body));
            CHECK((*parsed)[i].properties == elements[i].properties);
        }
    }

    TEST_CASE("message ids") {
        const std::string rows = golden("message_ids");
        ByteReader reader(as_bytes(rows));
        int count = 0;
        for (; reader.remaining() > 0; ++count) {
            const std::string_view packed = take_counted(reader);
            MessageLocation location;
            location.store_host.is_v6 = packed.size() == 20;
            std::copy(packed.begin(), packed.end() - 4, location.store_host.address.begin());
            location.store_host.port =
                load_be<std::int32_t>(as_bytes(packed).data() + packed.size() - 4);
            location.log_offset = LogOffset(reader.read<std::int64_t>());
            const std::string_view id = take_counted(reader);
            CHECK(format_message_id(location) == id);
            const auto parsed = parse_message_id(id);
            REQUIRE(parsed);
            CHECK(parsed->store_host == location.store_host);
            CHECK(parsed->log_offset == location.log_offset);
        }
        CHECK_FALSE(reader.failed());
        CHECK(count == 3);
    }

    TEST_CASE("tag hashes") {
        const std::string rows = golden("tag_hashes");
        ByteReader reader(as_bytes(rows));
        int count = 0;
        for (; reader.remaining() > 0; ++count) {
            const std::string_view tag = take_counted(reader);
            CAPTURE(tag);
            CHECK(tag_hash(tag) == reader.read<std::int64_t>());
        }
        CHECK_FALSE(reader.failed());
        CHECK(count == 9);
    }
}

}  // namespace gantry::wire
