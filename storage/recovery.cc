// SPDX-License-Identifier: Apache-2.0
#include "storage/recovery.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/damage/block_check.h"
#include "storage/damage/quarantine.h"
#include "storage/damage/queue_replay.h"
#include "storage/damage/segment_files.h"
#include "storage/log/log_reader.h"
#include "storage/replica/record_fold.h"
#include "storage/state_snapshot.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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
        : parts_(parts),
          is_clean_(is_clean),
          report_(report),
          reader_(parts.log->segments()),
          blocks_(parts.log->segments(), parts.log->sums()),
          quarantine_(*parts.lost, parts.clock),
          queues_(parts, quarantine_),
          fold_(parts, queues_) {}

    Status run() {
        GANTRY_TRY(open_parts());
        GANTRY_FAILPOINT_TRY("recovery.opened");
        GANTRY_TRY(check_files());
        const LogOffset from = starts_.earliest();
        report_.was_clean = is_clean_ && checkpoint_.has_value();
        report_.state_from = starts_.state;
        const LogOffset limit = walk_limit();
        GANTRY_TRY(blocks_.compare(from, limit, quarantine_.all()));
        LogOffset tail = from;
        GANTRY_TRY(walk(limit, tail));
        GANTRY_TRY(cut_torn_frame(tail));
        fold_.finish(tail);
        GANTRY_FAILPOINT_TRY("recovery.walked");
        GANTRY_TRY(refuse_wrong_blocks(tail));
        GANTRY_FAILPOINT_TRY("recovery.checked");
        if (!report_.was_clean && tail < newest_) {
            GANTRY_TRY(discard_newer(tail));
            return run();
        }
        queues_.settle();
        parts_.state->producers().remove_behind(std::max(tail, fold_.known_until()));
        if (!report_.was_clean) {
            parts_.queues->truncate_after(tail);
        }
        GANTRY_TRY(quarantine_.finish(*parts_.queues, report_));
        GANTRY_TRY(parts_.lost->cut(tail));
        parts_.log->set_epochs(parts_.state->epochs());
        return parts_.log->start(tail, report_.was_clean ? std::nullopt : std::optional(from));
    }

private:
    LogOffset log_end() const {
        const auto list = parts_.log->segments().snapshot();
        return list->empty() ? parts_.log->first() : list->back()->end();
    }

    bool refuses() const noexcept { return parts_.options.on_damage == OnDamage::kRefuse; }

    /// A lost end of the log is part of it: what it held is not given out again.
    LogOffset walk_limit() const {
        const LogOffset end = report_.was_clean ? checkpoint_->at : log_end();
        return quarantine_.all().empty() ? end : std::max(end, quarantine_.all().back().to);
    }

    Status load_marks();
    Status open_parts();
    Status discard_newer(LogOffset tail);
    Status begin_fold(LogOffset snapshot);
    std::optional<QueueReplay::Claim> claim_of(const LogEntry& entry) const;
    Status check_files();
    Status walk(LogOffset limit, LogOffset& at);
    Status cut_torn_frame(LogOffset& tail);
    Status pass_lost(const LostRange& range, LogOffset& at);
    std::string objection(const LogEntry& entry);
    bool may_be_wrong(const LogEntry& entry) const noexcept;
    Result<std::optional<LogOffset>> judge_damage(const LogEntry& bad,
                                                  LogOffset limit,
                                                  const std::string& why);
    Result<LogOffset> next_that_belongs(LogOffset after, LogOffset to);
    Status refuse_wrong_blocks(LogOffset tail) const;
    Error damaged(LogOffset at, LogOffset end, const std::string& why) const;

    Store::Parts& parts_;
    const bool is_clean_;
    RecoveryReport& report_;
    LogReader reader_;
    BlockCheck blocks_;
    Quarantine quarantine_;
    std::optional<Checkpoint> checkpoint_;
    Starts starts_;
    QueueReplay queues_;
    RecordFold fold_;
    LogOffset newest_;   ///< the later of checkpoint and snapshot
    LogOffset durable_;  ///< what the checkpoint and the sums say was durable once
};

Status Recovery::load_marks() {
    GANTRY_TRY(fold_.load_marks());
    if (parts_.log->segments().snapshot()->empty() && fold_.planted_first()) {
        parts_.log->begin_at(*fold_.planted_first());
    }
    return ok();
}

Status Recovery::open_parts() {
    FileSystem& files = parts_.files;
    quarantine_.restart();
    parts_.state.reset();
    parts_.topics.reset();
    parts_.keys.reset();
    parts_.queues.reset();
    GANTRY_ASSIGN_OR_RETURN(checkpoint_, load_checkpoint(files, parts_.path("checkpoint")));
    const bool had_keys = files.exists(parts_.path("index"));
    GANTRY_TRY(load_marks());
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
    if (first > LogOffset(0)) {
        // A stop between the deletion of a segment and the next flush of the queues.
        parts_.queues->advance_min(first);
    }
    parts_.keys = std::move(keys.index);
    parts_.topics = std::make_unique<TopicTable>(*parts_.queues);
    parts_.state = std::make_unique<LogStateMachine>(*parts_.topics);
    GANTRY_TRY(parts_.state->restore(loaded.snapshot));
    // An index that never got a key has no file, which is as good as one.
    const bool lost_keys = keys.needs_rebuild && !(had_keys && keys.rebuild_reason.empty());
    starts_.queues = !checkpoint_ || queues.needs_rebuild ? first : at;
    starts_.keys = !checkpoint_ || lost_keys ? first : at;
    starts_.state = std::max(first, LogOffset(loaded.snapshot.logoffset()));
    if (starts_.state > LogOffset(loaded.snapshot.logoffset())) {
        kLog.error(
            "topics, groups and offsets are not complete: changes of them are in deleted log",
            {{"snapshot", loaded.snapshot.logoffset()}, {"first", first.value}});
    }
    const LogOffset snapshot(loaded.snapshot.logoffset());
    // The log of a store that was planted is still below what it was planted with.
    newest_ = std::max(at, snapshot == fold_.known_until() ? at : starts_.state);
    parts_.state->producers().set_limits(
        {parts_.options.producer_idle_ms, parts_.options.producer_queues_max});
    if (!keys.needs_rebuild) {
        GANTRY_TRY(parts_.keys->truncate_after(starts_.keys));
    }
    return begin_fold(snapshot);
}

Status Recovery::begin_fold(LogOffset snapshot) {
    if (snapshot < fold_.known_until()) {
        return Error{Errc::kCorrupt,
                     "the state that " + parts_.options.directory.string() +
                         " was planted with, as of log offset " +
                         std::to_string(fold_.known_until().value) +
                         ", is damaged: the store has to be planted again"};
    }
    queues_.begin(starts_.queues);
    fold_.begin({starts_.queues, starts_.keys, starts_.state});
    return ok();
}

/// What a damaged record that is in a queue claims to be.
std::optional<QueueReplay::Claim> Recovery::claim_of(const LogEntry& entry) const {
    return fold_.is_unlisted(entry) ? std::nullopt : queues_.claim_of(entry);
}

/// Everything that was durable once must have its file, or is lost.
Status Recovery::check_files() {
    durable_ = checkpoint_ ? checkpoint_->at : LogOffset(0);
    GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, parts_.log->sums().segments());
    if (!bases.empty()) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> sums,
                                parts_.log->sums().load(bases.back()));
        durable_ = sums.empty() ? durable_ : std::max(durable_, sums.back().end());
    }
    return check_segment_files(
        *parts_.log, {parts_.path("commitlog"), refuses(), durable_, newest_}, quarantine_);
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
        if (const LostRange* const lost = quarantine_.at(at)) {
            GANTRY_TRY(pass_lost(*lost, at));
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        if (may_be_wrong(entry)) {
            GANTRY_ASSIGN_OR_RETURN(const std::string doubt, blocks_.doubt(entry));
            if (!doubt.empty()) {
                queues_.take(claim_of(entry));
                quarantine_.add(entry.at, entry.end, doubt);
                at = entry.end;
                continue;
            }
        }
        std::string why = entry.why;
        if (entry.kind == LogEntry::Kind::kRecord) {
            why = objection(entry);
        } else if (entry.kind == LogEntry::Kind::kNothing) {
            why = "its head is zeros";
        }
        if (!why.empty()) {
            GANTRY_ASSIGN_OR_RETURN(const auto behind, judge_damage(entry, limit, why));
            if (!behind) {
                return ok();
            }
            at = *behind;
            continue;
        }
        if (entry.kind == LogEntry::Kind::kRecord) {
            ++report_.records_replayed;
            GANTRY_TRY(fold_.take(entry));
        }
        at = entry.end;
    }
    return ok();
}

/// A frame is stored all or none: what there is of the last one goes when it is not whole. Not when
/// it was durable once, since frames become durable as a whole: that is damage, told as such.
Status Recovery::cut_torn_frame(LogOffset& tail) {
    const std::optional<Appended> torn = fold_.torn(tail);
    if (report_.was_clean || !torn || torn->first < durable_) {
        return ok();
    }
    report_.records_replayed -= torn->count;
    report_.bytes_cut += bytes_between(torn->first, tail);
    report_.cut_at = torn->first;
    report_.note = "the frame at " + std::to_string(torn->first.value) + " lacks its last records" +
                   (report_.note.empty() ? "" : "; " + report_.note);
    tail = torn->first;
    parts_.queues->cut(tail);
    return parts_.keys->truncate_after(tail);
}

/// Steps over what is known to be lost. What its records say of themselves is taken as before.
Status Recovery::pass_lost(const LostRange& range, LogOffset& at) {
    const LogOffset end = range.to;
    while (at < end) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
        const bool has_frame = entry.end > entry.at && entry.end <= end;
        if (has_frame) {
            queues_.take(claim_of(entry));
        }
        at = has_frame ? entry.end : end;
    }
    return ok();
}

/// Whether the sum of a block says that something in it is not what its looks say.
bool Recovery::may_be_wrong(const LogEntry& entry) const noexcept {
    return !blocks_.wrong().empty() && !refuses() &&
           (entry.kind == LogEntry::Kind::kRecord || entry.kind == LogEntry::Kind::kBlank);
}

/// Why a record that is whole cannot be where it is; empty when it can.
std::string Recovery::objection(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    // No CRC covers topic and properties. This store takes no zero byte in them, so that zeros
    // there mean a page that was never written, or bytes that a follower never got. RocketMQ may.
    const LogOffset written = checkpoint_ ? checkpoint_->at : LogOffset(0);
    if (entry.at >= written && !fold_.may_skip(entry.at) &&
        (record.topic.find('\0') != std::string_view::npos ||
         record.properties.find('\0') != std::string_view::npos)) {
        return "zeros in its properties";
    }
    return fold_.place(entry);
}

/// A torn tail is cut, and told: then there is nothing behind it. What was durable as a whole, or
/// has whole records behind it that were, is damage, and quarantined; returns where the walk goes
/// on.
Result<std::optional<LogOffset>> Recovery::judge_damage(const LogEntry& bad,
                                                        LogOffset limit,
                                                        const std::string& why) {
    if (bad.at < durable_) {
        const auto claim = claim_of(bad);
        const LogOffset known = quarantine_.next_from(bad.at, durable_);
        GANTRY_ASSIGN_OR_RETURN(const LogOffset next, next_that_belongs(bad.at, known));
        // A torn record is never whole, so a whole one in the wrong place is damage as well. Nor
        // does a tear end where a record says that it ends, and sums say that it was durable.
        const bool was_durable = bad.end > bad.at && bad.end <= durable_;
        if (next < durable_ || was_durable || report_.was_clean ||
            bad.kind == LogEntry::Kind::kRecord) {
            if (refuses()) {
                return damaged(bad.at, next, why);
            }
            // A record whose lengths add up ends where it says.
            const LogOffset end = bad.end > bad.at ? quarantine_.next_from(bad.at, bad.end) : next;
            queues_.take(claim);
            quarantine_.add(bad.at, end, why);
            if (bad.kind != LogEntry::Kind::kRecord) {
                blocks_.explain(bad.at, end);
            }
            return std::optional(end);
        }
    }
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end, reader_.end_of_data(bad.at, limit));
    if (std::max(data_end, durable_) <= bad.at) {
        return std::optional<LogOffset>();
    }
    report_.cut_at = bad.at;
    report_.bytes_cut = bytes_between(bad.at, std::max(data_end, durable_));
    report_.note = "record at " + std::to_string(bad.at.value) + ": " + why;
    if (bad.at < durable_) {
        report_.note += "; the log had been durable up to " + std::to_string(durable_.value);
        kLog.error("durable records are lost", {{"reason", report_.note}});
    }
    return std::optional<LogOffset>();
}

/// First whole record behind `damage` that may have been written there, or `to`.
Result<LogOffset> Recovery::next_that_belongs(LogOffset damage, LogOffset to) {
    LogOffset at = damage + 1;
    while (at < to) {
        GANTRY_ASSIGN_OR_RETURN(at, reader_.find_record(at, to));
        if (at < to) {
            GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_.read(at));
            if (queues_.belongs(entry, damage)) {
                return at;
            }
            at = at + 1;
        }
    }
    return to;
}

/// Changed bytes that no record's own CRC covers, where damage is not quarantined.
Status Recovery::refuse_wrong_blocks(LogOffset tail) const {
    for (const BlockSum& block : blocks_.wrong()) {
        if (refuses() && block.end() <= tail) {
            return damaged(block.at, block.end(), "the checksum of a block does not match");
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
