// SPDX-License-Identifier: Apache-2.0
#include "storage/recovery.h"

#include "common/checksum.h"
#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "protocol/wire/properties.h"
#include "storage/import/import_mark.h"
#include "storage/log/log_reader.h"
#include "storage/state_snapshot.h"

#include <algorithm>
#include <string>
#include <unordered_map>
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

QueueUnit unit_of(const LogEntry& entry) {
    const std::string_view tag =
        wire::find_property(entry.record.properties, wire::property::kTags);
    return {entry.at, static_cast<std::int32_t>(entry.record.stored_bytes), wire::tag_hash(tag)};
}

class Recovery {
public:
    Recovery(Store::Parts& parts, bool is_clean, RecoveryReport& report)
        : parts_(parts), is_clean_(is_clean), report_(report), reader_(parts.log->segments()) {}

    Status run() {
        GANTRY_TRY(open_parts());
        GANTRY_FAILPOINT_TRY("recovery.opened");
        GANTRY_TRY(check_files());
        const LogOffset from = starts_.earliest();
        LogOffset tail = from;
        report_.was_clean = is_clean_ && checkpoint_.has_value();
        GANTRY_TRY(walk(report_.was_clean ? checkpoint_->at : log_end(), tail));
        GANTRY_FAILPOINT_TRY("recovery.walked");
        GANTRY_TRY(check_sums(from, tail));
        GANTRY_FAILPOINT_TRY("recovery.checked");
        if (report_.was_clean) {
            return parts_.log->start(tail, std::nullopt);
        }
        if (tail < newest_) {
            GANTRY_TRY(discard_newer(tail));
            return run();
        }
        parts_.queues->truncate_after(tail);
        return parts_.log->start(tail, from);
    }

private:
    LogOffset log_end() const {
        const auto list = parts_.log->segments().snapshot();
        return list->empty() ? parts_.log->first() : list->back()->end();
    }

    Status open_parts();
    Status discard_newer(LogOffset tail);
    Status begin_imported();
    bool is_unlisted(const LogEntry& entry) const;
    Status check_files();
    Status walk(LogOffset limit, LogOffset& at);
    Status take(const LogEntry& entry);
    std::string objection(const LogEntry& entry);
    Status judge_damage(const LogEntry& bad, LogOffset limit, const std::string& why);
    Status check_sums(LogOffset from, LogOffset to);
    Error damaged(LogOffset at, LogOffset end, const std::string& why) const;

    Store::Parts& parts_;
    const bool is_clean_;
    RecoveryReport& report_;
    LogReader reader_;
    std::optional<Checkpoint> checkpoint_;
    std::optional<ImportMark> imported_;
    Starts starts_;
    std::unordered_map<const QueueIndex*, QueueOffset> next_;  ///< as far as walked
    LogOffset newest_;   ///< the later of checkpoint and snapshot
    LogOffset durable_;  ///< what the checkpoint and the sums say was durable once
};

Status Recovery::open_parts() {
    FileSystem& files = parts_.files;
    next_.clear();
    parts_.state.reset();
    parts_.topics.reset();
    parts_.keys.reset();
    parts_.queues.reset();
    GANTRY_ASSIGN_OR_RETURN(checkpoint_, load_checkpoint(files, parts_.path("checkpoint")));
    const bool had_keys = files.exists(parts_.path("index"));
    const LogOffset first = parts_.log->first();
    const LogOffset at = checkpoint_ ? std::max(checkpoint_->at, first) : first;
    GANTRY_ASSIGN_OR_RETURN(
        ConsumeQueues::Opened queues,
        ConsumeQueues::open(files,
                            {.directory = parts_.path("consumequeue"),
                             .first_file_blocks = parts_.options.queue_file_mib}));
    GANTRY_ASSIGN_OR_RETURN(
        KeyIndex::Opened keys,
        KeyIndex::open(files,
                       {.directory = parts_.path("index"),
                        .first_file_entries = parts_.options.key_file_entries}));
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
    // An index that never got a key has no file, which is as good as one.
    const bool lost_keys = keys.needs_rebuild && !(had_keys && keys.rebuild_reason.empty());
    starts_.queues = !checkpoint_ || queues.needs_rebuild ? first : at;
    starts_.keys = !checkpoint_ || lost_keys ? first : at;
    starts_.state = std::max(first, LogOffset(loaded.snapshot.logoffset()));
    newest_ = std::max(at, starts_.state);
    if (!keys.needs_rebuild) {
        GANTRY_TRY(parts_.keys->truncate_after(starts_.keys));
    }
    return begin_imported();
}

/// Queues whose messages RocketMQ had deleted before the import go on where they stood.
Status Recovery::begin_imported() {
    GANTRY_ASSIGN_OR_RETURN(imported_, ImportMark::load(parts_.files, parts_.options.directory));
    if (imported_ && starts_.queues < imported_->until()) {
        for (const wire::ImportedQueue& queue : imported_->log().queues()) {
            parts_.queues->queue(queue.topic(), queue.queueid())
                .begin_at(QueueOffset(queue.beginsat()));
        }
    }
    return ok();
}

bool Recovery::is_unlisted(const LogEntry& entry) const {
    return imported_ && imported_->covers(entry.at) &&
           imported_->is_unlisted(entry.record, entry.at);
}

/// Everything that was durable once must have its file.
Status Recovery::check_files() {
    durable_ = checkpoint_ ? checkpoint_->at : LogOffset(0);
    GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, parts_.log->sums().segments());
    if (!bases.empty()) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> sums,
                                parts_.log->sums().load(bases.back()));
        durable_ = sums.empty() ? durable_ : std::max(durable_, sums.back().end());
    }
    if (durable_ > log_end()) {
        return Error{Errc::kCorrupt,
                     "the log was durable up to " + std::to_string(durable_.value) +
                         " but the files of " + parts_.path("commitlog").string() + " cover [" +
                         std::to_string(parts_.log->first().value) + ", " +
                         std::to_string(log_end().value) + "): a segment is missing"};
    }
    return ok();
}

/// Checkpoint and snapshots that know of records which the log has lost.
Status Recovery::discard_newer(LogOffset tail) {
    kLog.error("the log ends before its checkpoint",
               {{"end", tail.value}, {"checkpoint", newest_.value}});
    FileSystem& files = parts_.files;
    if (checkpoint_) {
        GANTRY_TRY(files.remove(parts_.path("checkpoint")));
        GANTRY_TRY(files.sync_directory(parts_.options.directory));
    }
    const std::filesystem::path directory = parts_.path("state");
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        const auto at = parse_segment_name(std::string_view(name).substr(0, name.find('.')));
        if (at && *at > tail) {
            GANTRY_TRY(files.remove(directory / name));
        }
    }
    report_ = {};
    report_.note = "the log ends at " + std::to_string(tail.value) +
                   ", before what was durable once, " + std::to_string(newest_.value);
    return files.sync_directory(directory);
}

Status Recovery::walk(LogOffset limit, LogOffset& at) {
    while (at < limit) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        switch (entry.kind) {
            case LogEntry::Kind::kRecord:
                if (std::string why = objection(entry); !why.empty()) {
                    return judge_damage(entry, limit, why);
                }
                GANTRY_TRY(take(entry));
                break;
            case LogEntry::Kind::kBlank:
                break;
            case LogEntry::Kind::kNothing:
            case LogEntry::Kind::kBad:
                return judge_damage(
                    entry, limit, entry.why.empty() ? "its head is zeros" : entry.why);
        }
        at = entry.end;
    }
    return ok();
}

/// Why a record that is whole cannot be where it is; empty when it can.
std::string Recovery::objection(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    // No CRC covers topic and properties. This store takes no zero byte in them, so that zeros
    // there mean a page that was never written.
    if (checkpoint_ && entry.at >= checkpoint_->at &&
        (record.topic.find('\0') != std::string_view::npos ||
         record.properties.find('\0') != std::string_view::npos)) {
        return "zeros in its properties";
    }
    if (record.queue_id < 0 || record.queue_id >= kQueuesPerTopicMax) {
        return "its queue id is " + std::to_string(record.queue_id);
    }
    if (entry.at < starts_.queues || is_unlisted(entry)) {
        return {};
    }
    QueueIndex& queue = parts_.queues->queue(record.topic, record.queue_id);
    const auto next = next_.try_emplace(&queue, record.queue_offset).first;
    // RocketMQ may leave gaps; what an appender of ours wrote has none.
    if (imported_ && imported_->covers(entry.at) && record.queue_offset > next->second) {
        next->second = record.queue_offset;
    }
    if (record.queue_offset != next->second) {
        return "its queue offset is " + std::to_string(record.queue_offset.value) + ", not " +
               std::to_string(next->second.value);
    }
    const Status restored = queue.restore(record.queue_offset, unit_of(entry));
    if (!restored) {
        return restored.error().detail;
    }
    next->second += 1;
    return {};
}

Status Recovery::take(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    ++report_.records_replayed;
    const bool is_state = record.topic == kStateTopic && record.queue_id == 0;
    if (entry.at >= starts_.keys && !is_unlisted(entry)) {
        parts_.index_keys(record.topic, record.properties, entry.at, record.store_ms);
    }
    if (is_state) {
        GANTRY_TRY(
            parts_.state->replay({record.body, entry.at, record.queue_offset, record.store_ms},
                                 entry.at >= starts_.queues));
    }
    return ok();
}

/// A torn tail is cut, and told. Damage with whole records behind it that were durable is not.
Status Recovery::judge_damage(const LogEntry& bad, LogOffset limit, const std::string& why) {
    if (bad.at < durable_) {
        GANTRY_ASSIGN_OR_RETURN(const LogOffset next, reader_.find_record(bad.at + 1, durable_));
        // A torn record is never whole, so a whole one in the wrong place is damage as well.
        if (next < durable_ || report_.was_clean || bad.kind == LogEntry::Kind::kRecord) {
            return damaged(bad.at, next, why);
        }
    }
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end, reader_.end_of_data(bad.at, limit));
    if (std::max(data_end, durable_) <= bad.at) {
        return ok();
    }
    report_.cut_at = bad.at;
    report_.bytes_cut = bytes_between(bad.at, std::max(data_end, durable_));
    report_.note = "record at " + std::to_string(bad.at.value) + ": " + why;
    if (bad.at < durable_) {
        report_.note += "; the log had been durable up to " + std::to_string(durable_.value);
        kLog.error("durable records are lost", {{"reason", report_.note}});
    }
    return ok();
}

/// Finds changed bytes that no record's own CRC covers.
Status Recovery::check_sums(LogOffset from, LogOffset to) {
    std::vector<std::byte> bytes;
    const auto list = parts_.log->segments().snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() <= from || segment->base() >= to) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> sums,
                                parts_.log->sums().load(segment->base()));
        for (const BlockSum& block : sums) {
            if (block.end() <= from || block.end() > to) {
                continue;
            }
            bytes.resize(block.bytes);
            GANTRY_ASSIGN_OR_RETURN(const std::size_t got, parts_.log->copy(block.at, bytes));
            if (got != bytes.size() || xxh3(bytes) != block.sum) {
                return damaged(block.at, block.end(), "the checksum of a block does not match");
            }
        }
    }
    return ok();
}

Error Recovery::damaged(LogOffset at, LogOffset end, const std::string& why) const {
    const SegmentPtr segment = parts_.log->segments().find(at);
    return Error{Errc::kCorrupt,
                 (segment != nullptr ? segment->path().string() : std::string("the log")) +
                     " is damaged in the middle: log offset " + std::to_string(at.value) + ", " +
                     std::to_string(bytes_between(at, end)) + " B: " + why};
}

}  // namespace

Status recover(Store::Parts& parts, bool is_clean, RecoveryReport& report) {
    return Recovery(parts, is_clean, report).run();
}

}  // namespace gantry::storage
