// SPDX-License-Identifier: Apache-2.0
#include "storage/recovery.h"

#include "common/log.h"
#include "protocol/wire/properties.h"
#include "storage/log/log_reader.h"
#include "storage/state_snapshot.h"

#include <algorithm>
#include <string>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

/// From where each part of the store has to see the log again.
struct Starts {
    LogOffset queues;
    LogOffset keys;
    LogOffset state;

    LogOffset earliest() const { return std::min({queues, keys, state}); }
};

class Recovery {
public:
    Recovery(Store::Parts& parts, bool is_clean, RecoveryReport& report)
        : parts_(parts), is_clean_(is_clean), report_(report), reader_(*parts.log) {}

    Status run() {
        GANTRY_TRY(open_parts());
        LogOffset tail = starts_.earliest();
        if (is_clean_ && checkpoint_) {
            GANTRY_TRY(check_clean_end());
            GANTRY_TRY(walk(checkpoint_->at, tail));
            report_.was_clean = true;
            return parts_.log->start(checkpoint_->at, std::nullopt);
        }
        const LogOffset from = tail;
        GANTRY_TRY(walk(log_end(), tail));
        parts_.queues->truncate_after(tail);
        return parts_.log->start(tail, from);
    }

private:
    LogOffset log_end() const {
        const auto list = parts_.log->segments().snapshot();
        return list->empty() ? (checkpoint_ ? checkpoint_->at : LogOffset(0)) : list->back()->end();
    }

    Status open_parts();
    Status check_clean_end() const;
    Status walk(LogOffset limit, LogOffset& at);
    Status take(const LogEntry& entry);
    Status cut(const LogEntry& bad, LogOffset limit);

    Store::Parts& parts_;
    const bool is_clean_;
    RecoveryReport& report_;
    LogReader reader_;
    std::optional<Checkpoint> checkpoint_;
    Starts starts_;
};

Status Recovery::open_parts() {
    FileSystem& files = parts_.files;
    GANTRY_ASSIGN_OR_RETURN(checkpoint_, load_checkpoint(files, parts_.path("checkpoint")));
    const LogOffset first = parts_.log->first();
    const LogOffset at = checkpoint_ ? std::max(checkpoint_->at, first) : first;
    GANTRY_ASSIGN_OR_RETURN(ConsumeQueues::Opened queues,
                            ConsumeQueues::open(files, {.directory = parts_.path("consumequeue")}));
    GANTRY_ASSIGN_OR_RETURN(KeyIndex::Opened keys,
                            KeyIndex::open(files, {.directory = parts_.path("index")}));
    GANTRY_ASSIGN_OR_RETURN(const LoadedSnapshot loaded,
                            load_snapshot(files, parts_.path("state")));
    for (const std::string& note : {queues.rebuild_reason, keys.rebuild_reason, loaded.note}) {
        if (!note.empty()) {
            kLog.warn("rebuilding from the log", {{"reason", note}});
        }
    }
    parts_.queues = std::move(queues.queues);
    parts_.keys = std::move(keys.index);
    parts_.topics = std::make_unique<TopicTable>(*parts_.queues);
    parts_.state = std::make_unique<LogStateMachine>(*parts_.topics);
    GANTRY_TRY(parts_.state->restore(loaded.snapshot));
    const bool all = !checkpoint_;
    starts_.queues = all || queues.needs_rebuild ? first : at;
    starts_.keys = all || keys.needs_rebuild ? first : at;
    starts_.state = std::max(first, LogOffset(loaded.snapshot.logoffset()));
    if (!keys.needs_rebuild) {
        GANTRY_TRY(parts_.keys->truncate_after(starts_.keys));
    }
    return ok();
}

Status Recovery::check_clean_end() const {
    const auto list = parts_.log->segments().snapshot();
    const LogOffset end = list->empty() ? LogOffset(0) : list->back()->end();
    if (checkpoint_->at > end || checkpoint_->at < parts_.log->first()) {
        return Error{Errc::kCorrupt,
                     "the checkpoint says the log ends at " +
                         std::to_string(checkpoint_->at.value) + " but its files cover [" +
                         std::to_string(parts_.log->first().value) + ", " +
                         std::to_string(end.value) + "): a segment is missing from " +
                         parts_.path("commitlog").string()};
    }
    return ok();
}

Status Recovery::walk(LogOffset limit, LogOffset& at) {
    while (at < limit) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        switch (entry.kind) {
            case LogEntry::Kind::kRecord:
                GANTRY_TRY(take(entry));
                break;
            case LogEntry::Kind::kBlank:
                break;
            case LogEntry::Kind::kNothing:
            case LogEntry::Kind::kBad:
                return cut(entry, limit);
        }
        at = entry.end;
    }
    return ok();
}

Status Recovery::take(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    ++report_.records_replayed;
    const bool is_state = record.topic == kStateTopic && record.queue_id == 0;
    if (entry.at >= starts_.queues) {
        const QueueUnit unit{
            entry.at,
            static_cast<std::int32_t>(record.stored_bytes),
            wire::tag_hash(wire::find_property(record.properties, wire::property::kTags))};
        GANTRY_TRY(
            parts_.queues->queue(record.topic, record.queue_id).restore(record.queue_offset, unit));
    }
    if (entry.at >= starts_.keys) {
        parts_.index_keys(record.topic, record.properties, entry.at, record.store_ms);
    }
    if (is_state) {
        GANTRY_TRY(
            parts_.state->replay({record.body, entry.at, record.queue_offset, record.store_ms},
                                 entry.at >= starts_.queues));
    }
    return ok();
}

Status Recovery::cut(const LogEntry& bad, LogOffset limit) {
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end, reader_.end_of_data(bad.at, limit));
    if (data_end == bad.at) {
        return ok();
    }
    report_.cut_at = bad.at;
    report_.bytes_cut = bytes_between(bad.at, data_end);
    report_.note = "record at " + std::to_string(bad.at.value) + ": " +
                   (bad.why.empty() ? "its head is zeros" : bad.why);
    return ok();
}

}  // namespace

Status recover(Store::Parts& parts, bool is_clean, RecoveryReport& report) {
    return Recovery(parts, is_clean, report).run();
}

}  // namespace gantry::storage
