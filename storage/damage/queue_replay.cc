// SPDX-License-Identifier: Apache-2.0
#include "storage/damage/queue_replay.h"

#include "common/log.h"
#include "storage/index/unit_tag.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

QueueUnit unit_of(const LogEntry& entry) {
    return {entry.at,
            static_cast<std::int32_t>(entry.record.stored_bytes),
            unit_tag(entry.record.properties)};
}

bool is_queue_id(std::int32_t id) noexcept {
    return id >= 0 && id < kQueuesPerTopicMax;
}

/// Messages that `bytes` can have held.
std::uint64_t messages_in(std::uint64_t bytes) noexcept {
    return bytes / wire::kRecordBytesMin;
}

std::uint64_t distance(QueueOffset from, QueueOffset to) noexcept {
    return static_cast<std::uint64_t>(to - from);
}

}  // namespace

void QueueReplay::begin(LogOffset from) {
    from_ = from;
    seen_.clear();
    claims_.clear();
}

std::string QueueReplay::place(const LogEntry& entry, bool may_skip) {
    const wire::Record& record = entry.record;
    QueueIndex* queue = &parts_.queues->queue(record.topic, record.queue_id);
    auto seen = seen_.try_emplace(queue, Seen{record.queue_offset, entry.at}).first;
    if (may_skip && record.queue_offset > seen->second.next) {
        seen->second.next = record.queue_offset;
    }
    if (record.queue_offset != seen->second.next) {
        if (!may_follow(entry, seen->second)) {
            return "its queue offset is " + std::to_string(record.queue_offset.value) + ", not " +
                   std::to_string(seen->second.next.value);
        }
        if (record.queue_offset < seen->second.next) {
            kLog.error("the deletion of a topic is lost", {{"topic", record.topic}});
            parts_.topics->drop_queues(record.topic);
            queue = &parts_.queues->queue(record.topic, record.queue_id);
            seen = seen_.try_emplace(queue, Seen{record.queue_offset, entry.at}).first;
        }
    }
    Status restored = ok();
    if (!quarantine_.all().empty() && record.queue_offset > queue->max()) {
        restored = fill_gap(*queue, *claim_of(entry));
    }
    if (restored) {
        restored = queue->restore(record.queue_offset, unit_of(entry));
    }
    if (!restored) {
        return restored.error().detail;
    }
    seen->second = {record.queue_offset + 1, entry.at};
    return {};
}

/// Whether lost bytes explain that a record does not follow the last one of its queue: messages
/// between them are lost, or, for the first of a queue, the deletion of the topic before it.
bool QueueReplay::may_follow(const LogEntry& entry, const Seen& seen) const {
    if (quarantine_.all().empty()) {
        return false;
    }
    const std::uint64_t lost = quarantine_.bytes_between(seen.at, entry.at);
    const QueueOffset at = entry.record.queue_offset;
    if (at < seen.next) {
        return at == QueueOffset(0) && lost > 0;
    }
    return distance(seen.next, at) <= messages_in(lost);
}

/// Holes for the lost messages between the end of a queue and the message behind.
Status QueueReplay::fill_gap(QueueIndex& queue, const Claim& behind) {
    const QueueOffset max = queue.max();
    const QueueOffset to = behind.message.from;
    const LogOffset first = parts_.log->first();
    if (queue.min() == max) {
        // A queue may well begin late, but not in a log that has lost bytes only to damage.
        const std::uint64_t lost = quarantine_.bytes_between(first, behind.unit.at);
        if (first > LogOffset(0) || max > QueueOffset(0) || distance(max, to) > messages_in(lost)) {
            return ok();
        }
    }
    const QueueUnit hole{behind.unit.at, QueueUnit::kHoleSize, 0};
    QueueOffset at = max;
    GANTRY_TRY(queue.restore(at, hole));
    while (to - at > QueueIndex::kGapMax) {
        at += QueueIndex::kGapMax;
        GANTRY_TRY(queue.restore(at, hole));
    }
    if (at < to - 1) {
        GANTRY_TRY(queue.restore(to - 1, hole));
    }
    quarantine_.add_gap(behind.unit.at, {behind.message.topic, behind.message.queue_id, max, to});
    return ok();
}

std::optional<QueueReplay::Claim> QueueReplay::claim_of(const LogEntry& entry) const {
    const wire::Record& record = entry.record;
    if (entry.end <= entry.at || entry.kind == LogEntry::Kind::kBlank || entry.at < from_ ||
        !is_queue_id(record.queue_id)) {
        return std::nullopt;
    }
    const QueueOffset at = record.queue_offset;
    return Claim{unit_of(entry), {std::string(record.topic), record.queue_id, at, at + 1}};
}

void QueueReplay::take(const std::optional<Claim>& claim) {
    if (!claim) {
        return;
    }
    const Topic* const topic = parts_.topics->find(claim->message.topic);
    if (topic == nullptr ||
        claim->message.queue_id >= std::max(topic->read_queues(), topic->write_queues())) {
        return;
    }
    QueueIndex& queue = parts_.queues->queue(claim->message.topic, claim->message.queue_id);
    const auto seen = seen_.find(&queue);
    const QueueOffset next = seen != seen_.end() ? seen->second.next : queue.max();
    if (claim->message.from == next && queue.restore(next, claim->unit)) {
        seen_[&queue] = {next + 1, claim->unit.at};
    } else if (claim->message.from > next) {
        claims_.push_back(*claim);
    }
}

void QueueReplay::settle() {
    for (const Claim& claim : claims_) {
        QueueIndex* const queue = parts_.queues->find(claim.message.topic, claim.message.queue_id);
        const QueueOffset at = claim.message.from;
        const std::uint64_t lost = quarantine_.bytes_between(parts_.log->first(), claim.unit.at);
        if (queue == nullptr || at < queue->max() ||
            distance(queue->max(), at) > messages_in(lost)) {
            continue;
        }
        Status settled = at > queue->max() ? fill_gap(*queue, claim) : ok();
        if (settled) {
            settled = queue->restore(at, claim.unit);
        }
        if (!settled) {
            kLog.warn("a lost message has no place", {{"reason", settled.error()}});
        }
    }
    claims_.clear();
}

bool QueueReplay::belongs(const LogEntry& entry, LogOffset damage) const {
    const wire::Record& record = entry.record;
    if (!is_queue_id(record.queue_id)) {
        return false;
    }
    const QueueIndex* const queue = parts_.queues->find(record.topic, record.queue_id);
    if (queue == nullptr || entry.at < from_) {
        return true;
    }
    const QueueOffset at = record.queue_offset;
    const auto unit = queue->unit_at(at);
    if (unit && !unit->is_hole()) {
        return unit->at == entry.at;
    }
    const auto seen = seen_.find(queue);
    if (seen == seen_.end()) {
        return true;
    }
    const std::uint64_t lost =
        quarantine_.bytes_between(seen->second.at, damage) + bytes_between(damage, entry.at);
    return at >= seen->second.next && distance(seen->second.next, at) <= messages_in(lost);
}

}  // namespace gantry::storage
