// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/mended_units.h"

#include "protocol/wire/properties.h"
#include "storage/import/import_mark.h"
#include "storage/index/unit_tag.h"
#include "storage/log/log_reader.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace gantry::storage {
namespace {

/// Messages of one key in one second that are looked at.
constexpr std::uint32_t kSameKeyMax = 100'000;

/// Whether the key index finds the record by its first key; true when it has none.
bool has_key(const KeyIndex& keys, const wire::Record& record) {
    std::string_view key;
    wire::for_each_property(
        record.properties, [&key](std::string_view name, std::string_view value) {
            if (key.empty() &&
                (name == wire::property::kUniqueKey || name == wire::property::kKeys)) {
                key = value.substr(0, value.find(' '));
            }
        });
    if (key.empty()) {
        return true;
    }
    const auto found =
        keys.find({key_hash(record.topic, key), record.store_ms, record.store_ms, kSameKeyMax});
    return std::find(found.begin(), found.end(), record.log_offset) != found.end();
}

}  // namespace

Status MendedUnits::restore(LogOffset from, LogOffset to) {
    LogReader reader(parts_.log->segments());
    LogOffset at = from;
    while (at < to) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader.read(at));
        if (entry.kind != LogEntry::Kind::kRecord && entry.kind != LogEntry::Kind::kBlank) {
            return Error{Errc::kCorrupt,
                         "log offset " + std::to_string(at.value) +
                             " holds no record after it was mended: " + entry.why};
        }
        if (entry.kind == LogEntry::Kind::kRecord) {
            take(entry.record);
        }
        at = entry.end;
    }
    return ok();
}

void MendedUnits::take(const wire::Record& record) {
    QueueIndex* const queue = parts_.queues->find(record.topic, record.queue_id);
    const QueueOffset at = record.queue_offset;
    if (queue == nullptr || at < queue->min() || queue->min() == queue->max()) {
        return;  // deleted
    }
    if (at >= queue->max()) {
        ++behind_end_;
        return;
    }
    const QueueUnit expected{record.log_offset,
                             static_cast<std::int32_t>(record.stored_bytes),
                             unit_tag(record.properties)};
    const std::optional<QueueUnit> unit = queue->unit_at(at);
    if (!unit) {
        return;
    }
    const bool is_own = unit->at == record.log_offset && !unit->is_hole();
    if (!is_own && !(unit->is_hole() && is_its_hole(*queue, record))) {
        return;  // of a topic of the same name that was deleted
    }
    if (*unit != expected && queue->rewrite(at, expected)) {
        ++restored_;
    }
    index_keys(record);
}

/// Holes lie where the message behind them does; the message before tells lives of a topic apart.
bool MendedUnits::is_its_hole(const QueueIndex& queue, const wire::Record& record) {
    const QueueOffset at = record.queue_offset;
    const std::optional<QueueUnit> before = queue.unit_at(at - 1);
    const std::optional<QueueUnit> hole = queue.unit_at(at);
    return hole && hole->at > record.log_offset &&
           (!before || before->at < record.log_offset || before->is_hole());
}

void MendedUnits::index_keys(const wire::Record& record) {
    if (!has_key(*parts_.keys, record)) {
        parts_.index_keys(record.topic, record.properties, record.log_offset, record.store_ms);
        ++restored_;
    }
}

}  // namespace gantry::storage
