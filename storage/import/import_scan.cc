// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_scan.h"

#include "protocol/wire/properties.h"
#include "storage/import/import_mark.h"
#include "storage/import/rocketmq_names.h"
#include "storage/index/queue_index.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace gantry::storage {
namespace {

constexpr std::uint64_t kProgressBytes = std::uint64_t{64} << 20U;
constexpr std::int32_t kInnerBatch = 0x80;
constexpr std::array<std::int64_t, 18> kLevelSeconds = {
    1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1'200, 1'800, 3'600, 7'200};

template <class Int>
Int integer_or(std::string_view text, Int fallback) {
    Int value = fallback;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

Result<ScannedLog> ImportScan::run() {
    const auto list = segments_.snapshot();
    if (list->empty()) {
        return Error{Errc::kNotFound, "no segment: nothing to import"};
    }
    log_.first = log_.end = list->front()->base();
    GANTRY_TRY(walk(list->back()->end()));
    finish();
    return std::move(log_);
}

Status ImportScan::walk(LogOffset log_end) {
    LogOffset at = log_.first;
    while (at < log_end) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        if (entry.kind == LogEntry::Kind::kRecord) {
            GANTRY_TRY(take(entry));
        } else if (entry.kind != LogEntry::Kind::kBlank) {
            GANTRY_ASSIGN_OR_RETURN(const bool goes_on, take_damage(entry, log_end, at));
            if (!goes_on) {
                return ok();
            }
            continue;
        }
        at = entry.end;
        const std::uint64_t done = bytes_between(log_.first, at);
        if (options_.on_progress && done >= told_ + kProgressBytes) {
            told_ = done;
            options_.on_progress(done, bytes_between(log_.first, log_end));
        }
    }
    return ok();
}

/// False at the end of the log: no whole record stands behind.
Result<bool> ImportScan::take_damage(const LogEntry& bad, LogOffset log_end, LogOffset& at) {
    const std::string why = bad.why.empty() ? "zeros where a record was" : bad.why;
    LogOffset next = log_end;
    // A file that is missing ends a search.
    for (LogOffset from = bad.at + 1; from < log_end;) {
        const SegmentPtr segment = segments_.find(from);
        const auto list = segments_.snapshot();
        const auto later =
            std::find_if(list->begin(), list->end(), [from](const SegmentPtr& candidate) {
                return candidate->base() > from;
            });
        if (segment != nullptr) {
            GANTRY_ASSIGN_OR_RETURN(next, probe_.find_record(from, segment->end()));
            if (next < segment->end()) {
                break;
            }
        }
        next = log_end;
        from = later == list->end() ? log_end : (*later)->base();
    }
    if (next < log_end) {
        log_.damage.push_back({bad.at, bytes_between(bad.at, next), why});
        at = next;
        return true;
    }
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end, probe_.end_of_data(bad.at, log_end));
    log_.tail_bytes = bytes_between(bad.at, data_end);
    return false;
}

/// Where the life of the queue begins that the source's consume queue lists.
Result<LogOffset> ImportScan::lives_from(const wire::Record& record) {
    const RocketMqQueues* const queues = options_.queues;
    const RocketMqQueues::Queue* const listed =
        queues == nullptr ? nullptr : queues->find(record.topic, record.queue_id);
    if (listed == nullptr || !listed->first) {
        return options_.missing_is_deleted ? LogOffset(INT64_MAX) : log_.first;
    }
    const std::string topic(record.topic);
    const std::int32_t queue_id = record.queue_id;
    GANTRY_ASSIGN_OR_RETURN(const LogEntry first, probe_.read(*listed->first));
    const bool is_it = first.kind == LogEntry::Kind::kRecord && first.record.topic == topic &&
                       first.record.queue_id == queue_id &&
                       first.record.queue_offset.value == listed->min;
    return is_it ? *listed->first : log_.first;
}

Status ImportScan::take(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    ++log_.records;
    log_.end = entry.end;
    if (log_.first_store_ms == 0) {
        log_.first_store_ms = record.store_ms;
    }
    log_.last_store_ms = std::max(log_.last_store_ms, record.store_ms);
    if (record.queue_id < 0 || record.queue_id >= kQueuesPerTopicMax) {
        log_.damage.push_back(
            {entry.at,
             record.stored_bytes,
             "its queue id " + std::to_string(record.queue_id) + " is not within 0 to 65535"});
        return ok();
    }
    if (is_kept_from_queues(record.sys_flag)) {
        ++log_.kept_from_queues;
        return ok();
    }
    auto topic = log_.topics.find(record.topic);
    if (topic == log_.topics.end()) {
        topic = log_.topics.try_emplace(std::string(record.topic)).first;
    }
    auto queue = topic->second.find(record.queue_id);
    if (queue == topic->second.end()) {
        GANTRY_ASSIGN_OR_RETURN(const LogOffset begin, lives_from(record));
        queue = topic->second.try_emplace(record.queue_id).first;
        queue->second.lives_from = begin;
    }
    take_queue(entry, queue->second);
    return ok();
}

void ImportScan::take_queue(const LogEntry& entry, ScannedQueue& queue) {
    const wire::Record& record = entry.record;
    if (entry.at < queue.lives_from) {
        ++queue.dead;
        return;
    }
    const std::int64_t offset = record.queue_offset.value;
    if (queue.messages > 0 && offset < queue.next) {
        queue.dead += std::exchange(queue.messages, 0);
        queue.bytes = queue.gap = 0;
        queue.lives_from = entry.at;
    }
    if (queue.messages == 0) {
        queue.first = queue.next = offset;
    }
    if (offset - queue.next > QueueIndex::kGapMax) {
        log_.damage.push_back({entry.at,
                               record.stored_bytes,
                               "its queue offset " + std::to_string(offset) + " is " +
                                   std::to_string(offset - queue.next) +
                                   " behind the one before, limit " +
                                   std::to_string(QueueIndex::kGapMax)});
        return;
    }
    queue.gap += static_cast<std::uint64_t>(offset - queue.next);
    queue.next = offset + 1;
    ++queue.messages;
    queue.bytes += record.stored_bytes;
    log_.inner_batches += (record.sys_flag & kInnerBatch) != 0 ? 1 : 0;
    const bool is_light = !wire::find_property(record.properties, "INNER_MULTI_DISPATCH").empty();
    log_.light_dispatches += is_light ? 1 : 0;
    take_special(record);
}

/// Records of RocketMQ's own topics that stand for something still to happen.
void ImportScan::take_special(const wire::Record& record) {
    const std::int64_t offset = record.queue_offset.value;
    if (record.topic == rocketmq::kTimerTopic) {
        const std::string_view due = wire::find_property(record.properties, "TIMER_OUT_MS");
        timers_.push_back(integer_or<WallMs>(due, 0));
    } else if (record.topic == rocketmq::kHalfTopic) {
        const auto from = options_.half_from.find(record.queue_id);
        if (from == options_.half_from.end() || offset >= from->second) {
            half_.emplace(record.queue_id, offset);
        }
    } else if (record.topic == rocketmq::kOutcomeTopic) {
        std::string_view list = as_text(record.body);
        while (!list.empty()) {
            const std::size_t end = std::min(list.find(','), list.size());
            half_.erase({record.queue_id, integer_or<std::int64_t>(list.substr(0, end), -1)});
            list.remove_prefix(std::min(end + 1, list.size()));
        }
    } else if (record.topic == rocketmq::kDelayTopic &&
               static_cast<std::size_t>(record.queue_id) < kLevelSeconds.size()) {
        const std::int64_t seconds = kLevelSeconds[static_cast<std::size_t>(record.queue_id)];
        levels_[record.queue_id + 1].waiting.emplace_back(offset,
                                                          record.store_ms + seconds * 1'000);
    }
}

void ImportScan::finish() {
    log_.timers = static_cast<std::uint64_t>(std::count_if(
        timers_.begin(), timers_.end(), [this](WallMs due) { return due > log_.last_store_ms; }));
    log_.open_transactions = half_.size();
    for (const auto& [number, level] : levels_) {
        const auto waiting =
            std::find_if(level.waiting.begin(), level.waiting.end(), [this](const auto& message) {
                return message.second > log_.last_store_ms;
            });
        log_.delay_offsets[number] =
            waiting == level.waiting.end() ? level.waiting.back().first + 1 : waiting->first;
    }
    for (auto& [name, queues] : log_.topics) {
        for (auto& [queue_id, queue] : queues) {
            queue.lives_from = std::min(queue.lives_from, log_.end);
        }
    }
}

}  // namespace gantry::storage
