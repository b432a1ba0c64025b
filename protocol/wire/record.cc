// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/record.h"

#include "common/check.h"
#include "common/checksum.h"

#include <atomic>
#include <cstring>

namespace gantry::wire {
namespace {

constexpr std::size_t kTopicBytesMaxV1 = 127;
constexpr std::size_t kHostBytesV4 = 8;
constexpr std::size_t kHostBytesV6 = 20;
constexpr std::uint32_t kCrcMask = 0x7FFF'FFFFU;

// Everything but hosts, body, topic and properties, with the topic length of V1.
constexpr std::size_t kFixedBytes = 75;
static_assert(kFixedBytes + 2 * kHostBytesV4 == kRecordBytesMin);
static_assert(record_at::kBornHost + 8 + 4 + 8 + 4 + 1 + 2 == kFixedBytes);

bool has_long_topic(std::string_view topic) noexcept {
    return topic.size() > kTopicBytesMaxV1;
}

Host load_host(const std::byte* at, bool is_v6) noexcept {
    Host host;
    host.is_v6 = is_v6;
    const std::size_t address_bytes = is_v6 ? 16 : 4;
    std::memcpy(host.address.data(), at, address_bytes);
    host.port = load_be<std::int32_t>(at + address_bytes);
    return host;
}

std::byte* store_host(std::byte* at, const Host& host) noexcept {
    const std::size_t address_bytes = host.is_v6 ? 16 : 4;
    std::memcpy(at, host.address.data(), address_bytes);
    store_be(at + address_bytes, host.port);
    return at + address_bytes + sizeof(std::int32_t);
}

std::byte* store_bytes(std::byte* at, const void* from, std::size_t count) noexcept {
    if (count > 0) {
        std::memcpy(at, from, count);
    }
    return at + count;
}

std::int32_t stored_sys_flag(const Record& record) noexcept {
    std::int32_t flag = record.sys_flag & ~(sys_flag::kBornHostV6 | sys_flag::kStoreHostV6);
    flag |= record.born_host.is_v6 ? sys_flag::kBornHostV6 : 0;
    flag |= record.store_host.is_v6 ? sys_flag::kStoreHostV6 : 0;
    return flag;
}

Error corrupt(std::string_view what, std::int64_t value, std::size_t limit) {
    return Error{Errc::kCorrupt,
                 "record: " + std::string(what) + ' ' + std::to_string(value) + ", limit " +
                     std::to_string(limit)};
}

Error bad_magic(std::uint32_t magic) {
    return Error{Errc::kCorrupt,
                 magic == kMagicBlank ? "record: the rest of the segment is blank"
                                      : "record: magic " + std::to_string(magic)};
}

// Fills what stands between sysFlag and the body length; returns the latter's position.
std::size_t parse_middle(const std::byte* at, Record& record) noexcept {
    const bool born_v6 = (record.sys_flag & sys_flag::kBornHostV6) != 0;
    const bool store_v6 = (record.sys_flag & sys_flag::kStoreHostV6) != 0;
    record.born_ms = load_be<std::int64_t>(at + record_at::kBornTime);
    record.born_host = load_host(at + record_at::kBornHost, born_v6);
    std::size_t position = record_at::kBornHost + record.born_host.stored_bytes();
    record.store_ms = load_be<std::int64_t>(at + position);
    record.store_host = load_host(at + position + 8, store_v6);
    position += 8 + record.store_host.stored_bytes();
    record.reconsume_times = load_be<std::int32_t>(at + position);
    record.prepared_transaction_offset = load_be<std::int64_t>(at + position + 4);
    return position + 12;
}

// Fills body, topic and properties from the variable part, which must fill `bytes` exactly.
Status parse_variable(Bytes bytes, bool is_v2, Record& record) {
    ByteReader reader(bytes);
    const auto body_bytes = reader.read<std::int32_t>();
    if (body_bytes < 0) [[unlikely]] {
        return corrupt("body length", body_bytes, bytes.size());
    }
    record.body = reader.take(static_cast<std::size_t>(body_bytes));
    const std::size_t topic_bytes =
        is_v2 ? reader.read<std::uint16_t>() : std::size_t{reader.read<std::uint8_t>()};
    const std::size_t topic_bytes_max = is_v2 ? kTopicBytesMax : kTopicBytesMaxV1;
    if (topic_bytes > topic_bytes_max) [[unlikely]] {
        return corrupt("topic length", static_cast<std::int64_t>(topic_bytes), topic_bytes_max);
    }
    record.topic = as_text(reader.take(topic_bytes));
    const auto properties_bytes = reader.read<std::int16_t>();
    if (properties_bytes < 0) [[unlikely]] {
        return corrupt("properties length", properties_bytes, kPropertiesBytesMax);
    }
    record.properties = as_text(reader.take(static_cast<std::size_t>(properties_bytes)));
    if (reader.failed() || reader.remaining() != 0) [[unlikely]] {
        return corrupt("lengths that do not add up to size",
                       static_cast<std::int64_t>(record.stored_bytes),
                       record.stored_bytes);
    }
    return ok();
}

}  // namespace

std::size_t record_bytes(const Record& record) noexcept {
    return kFixedBytes + record.born_host.stored_bytes() + record.store_host.stored_bytes() +
           record.body.size() + (has_long_topic(record.topic) ? 1 : 0) + record.topic.size() +
           record.properties.size();
}

void encode_record(const Record& record, MutableBytes into) noexcept {
    GANTRY_ASSERT(into.size() == record_bytes(record));
    const bool is_v2 = has_long_topic(record.topic);
    std::byte* const start = into.data();
    store_be(start + record_at::kSize, static_cast<std::int32_t>(into.size()));
    store_be(start + record_at::kBodyCrc, record_body_crc(record.body));
    store_be(start + record_at::kQueueId, record.queue_id);
    store_be(start + record_at::kFlag, record.flag);
    store_be(start + record_at::kQueueOffset, record.queue_offset.value);
    store_be(start + record_at::kLogOffset, record.log_offset.value);
    store_be(start + record_at::kSysFlag, stored_sys_flag(record));
    store_be(start + record_at::kBornTime, record.born_ms);
    std::byte* at = store_host(start + record_at::kBornHost, record.born_host);
    store_be(at, record.store_ms);
    at = store_host(at + 8, record.store_host);
    store_be(at, record.reconsume_times);
    store_be(at + 4, record.prepared_transaction_offset);
    store_be(at + 12, static_cast<std::int32_t>(record.body.size()));
    at = store_bytes(at + 16, record.body.data(), record.body.size());
    if (is_v2) {
        store_be(at, static_cast<std::uint16_t>(record.topic.size()));
        at += 2;
    } else {
        store_be(at, static_cast<std::uint8_t>(record.topic.size()));
        at += 1;
    }
    at = store_bytes(at, record.topic.data(), record.topic.size());
    store_be(at, static_cast<std::int16_t>(record.properties.size()));
    store_bytes(at + 2, record.properties.data(), record.properties.size());
    // Last: a process that is killed before leaves no record that looks whole.
    std::atomic_signal_fence(std::memory_order_release);
    store_be(start + record_at::kMagic, is_v2 ? kMagicV2 : kMagicV1);
}

Result<Record> parse_record(Bytes bytes) {
    if (bytes.size() < kRecordBytesMin) [[unlikely]] {
        return corrupt("bytes at hand", static_cast<std::int64_t>(bytes.size()), kRecordBytesMin);
    }
    const std::byte* const at = bytes.data();
    const auto magic = load_be<std::uint32_t>(at + record_at::kMagic);
    if (magic != kMagicV1 && magic != kMagicV2) [[unlikely]] {
        return bad_magic(magic);
    }
    const auto size = load_be<std::int32_t>(at + record_at::kSize);
    if (size < static_cast<std::int32_t>(kRecordBytesMin) ||
        static_cast<std::size_t>(size) > bytes.size()) [[unlikely]] {
        return corrupt("size", size, bytes.size());
    }
    Result<Record> result{Record{}};
    Record& record = *result;
    record.stored_bytes = static_cast<std::size_t>(size);
    record.body_crc = load_be<std::uint32_t>(at + record_at::kBodyCrc);
    record.queue_id = load_be<std::int32_t>(at + record_at::kQueueId);
    record.flag = load_be<std::int32_t>(at + record_at::kFlag);
    record.queue_offset = QueueOffset(load_be<std::int64_t>(at + record_at::kQueueOffset));
    record.log_offset = LogOffset(load_be<std::int64_t>(at + record_at::kLogOffset));
    record.sys_flag = load_be<std::int32_t>(at + record_at::kSysFlag);
    const std::size_t host_bytes =
        ((record.sys_flag & sys_flag::kBornHostV6) != 0 ? kHostBytesV6 : kHostBytesV4) +
        ((record.sys_flag & sys_flag::kStoreHostV6) != 0 ? kHostBytesV6 : kHostBytesV4);
    if (record.stored_bytes < kFixedBytes + host_bytes) [[unlikely]] {
        return corrupt("size with these hosts", size, kFixedBytes + host_bytes);
    }
    const std::size_t variable_at = parse_middle(at, record);
    GANTRY_TRY(parse_variable(
        bytes.subspan(variable_at, record.stored_bytes - variable_at), magic == kMagicV2, record));
    return result;
}

bool body_crc_matches(const Record& record) noexcept {
    return record_body_crc(record.body) == record.body_crc;
}

std::uint32_t record_body_crc(Bytes body) noexcept {
    return crc32(body) & kCrcMask;
}

void patch_record(std::byte* record, const StorePatch& patch) noexcept {
    store_be(record + record_at::kQueueOffset, patch.queue_offset.value);
    const auto flag = load_be<std::int32_t>(record + record_at::kSysFlag);
    const std::int32_t marked =
        patch.more_follow ? flag | sys_flag::kMoreFollow : flag & ~sys_flag::kMoreFollow;
    if (marked != flag) {
        store_be(record + record_at::kSysFlag, marked);
    }
    const bool born_v6 = (flag & sys_flag::kBornHostV6) != 0;
    GANTRY_ASSERT(((flag & sys_flag::kStoreHostV6) != 0) == patch.store_host.is_v6);
    std::byte* const at = record + record_at::kBornHost + (born_v6 ? kHostBytesV6 : kHostBytesV4);
    store_be(at, patch.store_ms);
    store_host(at + 8, patch.store_host);
    // Last: as long as it is not the record's place, the record is not there.
    std::atomic_signal_fence(std::memory_order_release);
    store_be(record + record_at::kLogOffset, patch.log_offset.value);
}

void set_reconsume_times(std::byte* record, std::int32_t times) noexcept {
    const auto flag = load_be<std::int32_t>(record + record_at::kSysFlag);
    const auto host_bytes = [flag](std::int32_t bit) {
        return (flag & bit) != 0 ? kHostBytesV6 : kHostBytesV4;
    };
    store_be(record + record_at::kBornHost + host_bytes(sys_flag::kBornHostV6) + sizeof(WallMs) +
                 host_bytes(sys_flag::kStoreHostV6),
             times);
}

}  // namespace gantry::wire
