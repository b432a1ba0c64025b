// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/properties.h"
#include "storage/store_parts.h"

#include <array>
#include <string>

namespace gantry::storage {
namespace {

/// Up to and including the store time, with an IPv6 born host.
constexpr std::size_t kStoreTimeEndMax = wire::record_at::kBornHost + 20 + 8;

Error no_record(LogOffset at) {
    return Error{Errc::kNotFound, "no record starts at log offset " + std::to_string(at.value)};
}

bool has_key(std::string_view properties, std::string_view key) {
    if (wire::find_property(properties, wire::property::kUniqueKey) == key) {
        return true;
    }
    std::string_view words = wire::find_property(properties, wire::property::kKeys);
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(' '), words.size());
        if (words.substr(0, end) == key) {
            return true;
        }
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
}

}  // namespace

Result<std::string> Store::Parts::record_at(LogOffset at) const {
    constexpr std::size_t kHeadBytes = wire::record_at::kLogOffset + 8;
    const LogOffset end = confirmed();
    if (at < log->first() || at >= end) {
        return no_record(at);
    }
    std::array<std::byte, kHeadBytes> head{};
    GANTRY_ASSIGN_OR_RETURN(const std::size_t got, log->copy(at, head));
    const auto size = load_be<std::uint32_t>(head.data() + wire::record_at::kSize);
    const auto magic = load_be<std::uint32_t>(head.data() + wire::record_at::kMagic);
    if (got < kHeadBytes || (magic != wire::kMagicV1 && magic != wire::kMagicV2) ||
        load_be<std::int64_t>(head.data() + wire::record_at::kLogOffset) != at.value) {
        return no_record(at);
    }
    const auto damaged = [at](const std::string& why) {
        return Error{Errc::kCorrupt,
                     "record at log offset " + std::to_string(at.value) + ": " + why};
    };
    if (size < wire::kRecordBytesMin || size > bytes_between(at, end)) {
        return damaged("size " + std::to_string(size));
    }
    if (!lost->empty() &&
        find_lost(*lost->snapshot(), at, at + static_cast<std::int64_t>(size)) != nullptr) {
        return damaged("it is quarantined");
    }
    std::string bytes(size, '\0');
    const MutableBytes into(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    GANTRY_ASSIGN_OR_RETURN(const std::size_t read, log->copy(at, into));
    if (read < size) {
        return damaged("it reaches beyond its segment");
    }
    const Result<wire::Record> record = wire::parse_record(into);
    if (!record) {
        return damaged(record.error().detail);
    }
    if (!wire::body_crc_matches(*record)) {
        return damaged("the CRC of its body does not match");
    }
    // Bytes inside a body may look like a record: a real one is in its queue.
    const QueueIndex* const index = queues->find(record->topic, record->queue_id);
    const auto unit = index != nullptr ? index->unit_at(record->queue_offset) : std::nullopt;
    if (unit && unit->at != at) {
        return no_record(at);
    }
    return bytes;
}

Result<std::string> Store::record_at(LogOffset at) const {
    return parts_->record_at(at);
}

WallMs Store::store_time_at(const Queue& queue, QueueOffset at) const {
    return parts_->store_time_at(*queue.index, at);
}

WallMs Store::Parts::store_time_at(const QueueIndex& queue, QueueOffset at) const {
    const std::optional<QueueUnit> unit = queue.unit_at(at);
    if (!unit || unit->is_hole() ||
        (!lost->empty() && find_lost(*lost->snapshot(), unit->at, unit->end()) != nullptr)) {
        return -1;
    }
    return store_time_of(unit->at);
}

WallMs Store::Parts::store_time_of(LogOffset at) const {
    std::array<std::byte, kStoreTimeEndMax> head{};
    const Result<std::size_t> got = log->copy(at, head);
    if (!got || *got < kStoreTimeEndMax) {
        return -1;
    }
    const auto flags = load_be<std::int32_t>(head.data() + wire::record_at::kSysFlag);
    const std::size_t born_host_bytes = (flags & wire::sys_flag::kBornHostV6) != 0 ? 20 : 8;
    return load_be<std::int64_t>(head.data() + wire::record_at::kBornHost + born_host_bytes);
}

QueueOffset Store::Parts::first_stored(
    const QueueIndex& queue, QueueOffset from, QueueOffset to, WallMs time, bool is_after) const {
    QueueOffset low = from;
    QueueOffset high = to;
    while (low < high) {
        const QueueOffset middle = low + (high - low) / 2;
        QueueOffset told = middle;
        WallMs stored = store_time_at(queue, told);
        while (stored < 0 && told + 1 < high) {
            told += 1;
            stored = store_time_at(queue, told);
        }
        if (stored >= 0 && (stored < time || (is_after && stored == time))) {
            low = told + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

QueueOffset Store::offset_by_time(const Queue& queue, WallMs time, bool upper) const {
    const QueueOffset min = queue.index->min();
    const QueueOffset found =
        parts_->first_stored(*queue.index, min, confirmed_max(queue), time, upper);
    return upper && found > min ? found - 1 : found;
}

std::vector<LogOffset> Store::find_by_key(const KeyQuery& query) const {
    // Some hits may be other keys with the same hash, or of a deleted topic.
    constexpr std::uint32_t kSpare = 64;
    const std::vector<LogOffset> hits =
        parts_->keys->find({.hash = key_hash(query.topic, query.key),
                            .begin = query.begin,
                            .end = query.end,
                            .count_max = query.count_max + kSpare});
    std::vector<LogOffset> found;
    for (const LogOffset at : hits) {
        if (found.size() == query.count_max) {
            break;
        }
        const Result<std::string> bytes = record_at(at);
        const Result<wire::Record> record =
            bytes ? wire::parse_record(as_bytes(*bytes)) : Result<wire::Record>(bytes.error());
        if (record && record->topic == query.topic && record->store_ms >= query.begin &&
            record->store_ms <= query.end && has_key(record->properties, query.key)) {
            found.push_back(at);
        }
    }
    return found;
}

}  // namespace gantry::storage
