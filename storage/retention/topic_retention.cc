// SPDX-License-Identifier: Apache-2.0
#include "storage/retention/topic_retention.h"

#include "common/log.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <array>
#include <queue>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kUnitsAtOnce = 256;

std::uint64_t bytes_of(const QueueUnit& unit) noexcept {
    return unit.is_hole() || unit.size < 0 ? 0 : static_cast<std::uint64_t>(unit.size);
}

/// Bytes of the messages [from, to); of those that are still there.
std::uint64_t sum_bytes(const QueueIndex& index, QueueOffset from, QueueOffset to) {
    std::array<QueueUnit, kUnitsAtOnce> units;
    std::uint64_t bytes = 0;
    while (from < to) {
        const auto room = std::min<std::size_t>(units.size(), static_cast<std::size_t>(to - from));
        const std::size_t count = index.read(from, std::span(units).first(room));
        if (count == 0) {
            break;
        }
        for (std::size_t i = 0; i < count; ++i) {
            bytes += bytes_of(units[i]);
        }
        from += static_cast<std::int64_t>(count);
    }
    return bytes;
}

}  // namespace

TopicRetentions::Applied TopicRetentions::apply(WallMs now) {
    load_rules();
    Applied applied;
    for (const auto& [topic, rules] : rules_) {
        apply_to(topic, rules, now, applied);
    }
    return applied;
}

void TopicRetentions::load_rules() {
    const std::int64_t version = parts_.state->topic_version().counter();
    if (version == version_) {
        return;
    }
    version_ = version;
    rules_.clear();
    const RetentionOptions& defaults = parts_.options.retention;
    for (const std::string& name : defaults.held_topics) {
        // Nobody reads them again: what is consumed needs no part of the log.
        rules_[name] = {{.keep_ms = 1, .until_consumed = true}, true};
    }
    for (const wire::TopicConfig& topic : parts_.state->topics()) {
        const auto own = retention_of(topic, defaults);
        if (!own) {
            kLog.error("a topic's retention is not understood, the default applies",
                       {{"topic", topic.topicname()}, {"reason", own.error()}});
        } else if (*own && !has(topic.topicname())) {
            rules_[topic.topicname()] = {**own, false};
        }
    }
    std::erase_if(counted_, [this](const auto& topic) { return !has(topic.first); });
}

std::vector<TopicRetentions::Candidate> TopicRetentions::queues_of(const std::string& topic) const {
    std::vector<Candidate> queues;
    const Topic* const found = parts_.topics->find(topic);
    const std::int32_t count =
        found == nullptr ? 0 : std::max(found->read_queues(), found->write_queues());
    for (std::int32_t id = 0; id < count; ++id) {
        QueueIndex* const index = parts_.queues->find(topic, id);
        if (index != nullptr && index->min() < index->max()) {
            const QueueOffset min = index->min();
            queues.push_back({id, index, min, index->max(), {min, min, min}});
        }
    }
    return queues;
}

/// The oldest message stored at or behind `time`.
QueueOffset TopicRetentions::first_since(const Candidate& queue, WallMs time) const {
    if (parts_.store_time_at(*queue.index, queue.min) >= time) {
        return queue.min;
    }
    return parts_.first_stored(*queue.index, queue.min, queue.max, time);
}

void TopicRetentions::limit_ages(std::vector<Candidate>& queues,
                                 const TopicRetention& rules,
                                 WallMs now) const {
    for (Candidate& queue : queues) {
        if (rules.keep_ms > 0) {
            queue.limits.expired = first_since(queue, now - rules.keep_ms);
        }
        if (rules.until_consumed && rules.cap_ms > 0) {
            queue.limits.cap = first_since(queue, now - rules.cap_ms);
        }
    }
}

void TopicRetentions::limit_consumed(const std::string& topic,
                                     bool is_held,
                                     std::vector<Candidate>& queues) const {
    std::map<std::string, std::map<std::int32_t, std::int64_t>> groups;
    for (const wire::OffsetPut& put : parts_.state->offsets_of_topic(topic)) {
        groups[put.group()][put.queueid()] = put.offset();
    }
    for (Candidate& queue : queues) {
        queue.limits.consumed = groups.empty() && is_held ? queue.min : queue.max;
        for (const auto& [group, offsets] : groups) {
            const auto found = offsets.find(queue.queue_id);
            const QueueOffset committed =
                found != offsets.end() ? QueueOffset(found->second) : queue.min;
            queue.limits.consumed = std::min(queue.limits.consumed, committed);
        }
        queue.limits.consumed = std::max(queue.limits.consumed, queue.min);
    }
}

std::uint64_t TopicRetentions::count_bytes(const std::string& topic,
                                           const std::vector<Candidate>& queues) {
    std::map<std::int32_t, Counted>& counted = counted_[topic];
    std::uint64_t total = 0;
    for (const Candidate& queue : queues) {
        Counted& known = counted[queue.queue_id];
        if (known.from != queue.min || known.to > queue.max) {
            known = {queue.min, queue.min, 0};
        }
        known.bytes += sum_bytes(*queue.index, known.to, queue.max);
        known.to = queue.max;
        total += known.bytes;
    }
    return total;
}

void TopicRetentions::forget_bytes(const std::string& topic,
                                   const Candidate& queue,
                                   QueueOffset to) {
    const auto counted = counted_.find(topic);
    if (counted == counted_.end()) {
        return;
    }
    const auto known = counted->second.find(queue.queue_id);
    if (known != counted->second.end() && known->second.from == queue.min) {
        known->second.bytes -= sum_bytes(*queue.index, queue.min, to);
        known->second.from = to;
    }
}

/// How far each queue goes when the topic's oldest messages go until `bytes_max` are left.
std::vector<QueueOffset> TopicRetentions::cut_to(const std::vector<Candidate>& queues,
                                                 std::uint64_t bytes,
                                                 std::uint64_t bytes_max) {
    using Oldest = std::pair<LogOffset, std::size_t>;
    std::priority_queue<Oldest, std::vector<Oldest>, std::greater<>> oldest;
    std::vector<QueueOffset> cut;
    for (std::size_t i = 0; i < queues.size(); ++i) {
        cut.push_back(queues[i].min);
        if (const auto unit = queues[i].index->unit_at(queues[i].min); unit && bytes > bytes_max) {
            oldest.emplace(unit->at, i);
        }
    }
    while (bytes > bytes_max && !oldest.empty()) {
        const std::size_t i = oldest.top().second;
        oldest.pop();
        if (const auto unit = queues[i].index->unit_at(cut[i])) {
            bytes -= std::min(bytes, bytes_of(*unit));
        }
        cut[i] += 1;
        if (const auto next = queues[i].index->unit_at(cut[i]); next && cut[i] < queues[i].max) {
            oldest.emplace(next->at, i);
        }
    }
    return cut;
}

void TopicRetentions::apply_to(const std::string& topic,
                               const Rules& rules,
                               WallMs now,
                               Applied& applied) {
    const TopicRetention& retention = rules.retention;
    std::vector<Candidate> queues = queues_of(topic);
    limit_ages(queues, retention, now);
    const bool has_cap = retention.until_consumed && retention.cap_bytes > 0;
    if (retention.bytes_max > 0 || has_cap) {
        const std::uint64_t bytes = count_bytes(topic, queues);
        const std::uint64_t no_limit = bytes;
        const auto expired =
            cut_to(queues, bytes, retention.bytes_max > 0 ? retention.bytes_max : no_limit);
        const auto cap = cut_to(queues, bytes, has_cap ? retention.cap_bytes : no_limit);
        for (std::size_t i = 0; i < queues.size(); ++i) {
            queues[i].limits.expired = std::max(queues[i].limits.expired, expired[i]);
            queues[i].limits.cap = std::max(queues[i].limits.cap, cap[i]);
        }
    }
    if (retention.until_consumed) {
        limit_consumed(topic, rules.is_held, queues);
    }
    for (const Candidate& queue : queues) {
        const QueueOffset min = queue_min(queue.limits, retention);
        if (min > queue.min) {
            forget_bytes(topic, queue, min);
            queue.index->advance_min(min);
            applied.moved.push_back({topic, queue.queue_id, queue.min, min});
        }
        if (min < queue.index->max()) {
            // Where nothing can be known, everything is needed.
            const auto unit = queue.index->unit_at(min);
            applied.needed = std::min(applied.needed, unit ? unit->at : parts_.log->first());
        }
    }
}

}  // namespace gantry::storage
