// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/record_fold.h"

namespace gantry::storage {

Status RecordFold::load_marks() {
    const std::filesystem::path& store = parts_.options.directory;
    GANTRY_ASSIGN_OR_RETURN(imported_, ImportMark::load(parts_.files, store));
    GANTRY_ASSIGN_OR_RETURN(planted_, PlantedMark::load(parts_.files, store));
    return ok();
}

void RecordFold::begin(const From& from) {
    from_ = from;
    frames_.begin(parts_.state->producers(), from.state);
    delivered_.clear();
    begin_queues();
}

/// Queues whose first messages the log does not have go on where they stood.
void RecordFold::begin_queues() {
    if (imported_ && from_.queues < imported_->until()) {
        for (const wire::ImportedQueue& queue : imported_->log().queues()) {
            parts_.queues->queue(queue.topic(), queue.queueid())
                .begin_at(QueueOffset(queue.beginsat()));
        }
    }
    if (planted_ && from_.queues < planted_->until()) {
        for (const wire::StoreSeed::Queue& queue : planted_->seed().queues()) {
            parts_.queues->queue(queue.topic(), queue.queueid())
                .begin_at(QueueOffset(queue.begin()));
        }
    }
}

std::optional<LogOffset> RecordFold::planted_first() const {
    return planted_ ? std::optional(planted_->first()) : std::nullopt;
}

LogOffset RecordFold::known_until() const noexcept {
    return planted_ ? planted_->until() : LogOffset(0);
}

bool RecordFold::is_unlisted(const LogEntry& entry) const {
    return (may_skip(entry.at) && imported_->is_unlisted(entry.record, entry.at)) ||
           (planted_ && planted_->is_unlisted(entry.record, entry.at));
}

std::string RecordFold::place(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    if (record.queue_id < 0 || record.queue_id >= kQueuesPerTopicMax) {
        return "its queue id is " + std::to_string(record.queue_id);
    }
    if (entry.at < from_.queues || is_unlisted(entry)) {
        return {};
    }
    // RocketMQ may leave gaps; what an appender of ours wrote has none.
    return queues_.place(entry, may_skip(entry.at));
}

Status RecordFold::take(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    if (entry.at >= from_.keys && !is_unlisted(entry)) {
        parts_.index_keys(record.topic, record.properties, entry.at, record.store_ms);
    }
    if (!may_skip(entry.at)) {
        take_transaction(record, entry.at);
        frames_.take(record, entry.at, entry.end);
    }
    if (record.topic != kStateTopic || record.queue_id != 0) {
        return ok();
    }
    // Queues that came with the plant are of the topics that lived then.
    const bool drops_queues = entry.at >= from_.queues && entry.at >= known_until();
    return parts_.state->replay(
        {record.body, entry.at, entry.end, record.queue_offset, record.store_ms}, drops_queues);
}

/// What a torn frame has delivered is not: its records wait here until it is whole.
void RecordFold::take_transaction(const wire::Record& record, LogOffset at) {
    if ((record.sys_flag & wire::sys_flag::kEndsTimer) != 0) {
        delivered_.emplace_back(at, LogOffset(record.prepared_transaction_offset));
    } else {
        parts_.state->replay_transaction(record, at);
    }
    if ((record.sys_flag & wire::sys_flag::kMoreFollow) == 0) {
        finish(at + 1);
    }
}

void RecordFold::finish(LogOffset tail) {
    for (const auto& [at, waited] : delivered_) {
        wire::Record ends;
        ends.sys_flag = wire::sys_flag::kEndsTimer;
        ends.prepared_transaction_offset = waited.value;
        if (at < tail) {
            parts_.state->replay_transaction(ends, at);
        }
    }
    delivered_.clear();
}

}  // namespace gantry::storage
