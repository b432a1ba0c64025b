// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_check.h"

#include "common/checksum.h"
#include "storage/check/first_marks.h"
#include "storage/check/stored_queues.h"
#include "storage/checkpoint.h"
#include "storage/index/unit_tag.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_reader.h"
#include "storage/log/log_volumes.h"
#include "storage/log/lost_ranges.h"
#include "storage/state_snapshot.h"
#include "storage/topic_table.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kProgressBytes = std::uint64_t{64} << 20U;
constexpr std::size_t kSumBlocksAtOnce = 64;
constexpr std::size_t kNamesMax = 1'000;  // more than a block holds records

/// Findings about the units of one topic, the first of `total`.
struct Waiting {
    std::uint64_t total = 0;
    std::vector<Finding> findings;
};

/// Adjacent positions that a finding is about.
struct Range {
    LogOffset at;
    LogOffset end;
};

class StoreCheck {
public:
    StoreCheck(FileSystem& files, const CheckOptions& options)
        : files_(files), options_(options), sums_(files, options.directory / "checksum") {}

    Result<CheckReport> run();

private:
    fs::path path(const char* name) const { return options_.directory / name; }

    Status open();
    Status read_marks();
    Status read_lost();
    bool is_lost(LogOffset from, LogOffset to) const;
    void check_gaps();
    Status check_segment(const SegmentPtr& segment);
    Status compare_sums(const Segment& segment, std::vector<Range>& wrong);
    Status walk(const Segment& segment, const std::vector<Range>& wrong);
    Status take_damage(const LogEntry& bad, const Segment& segment);
    void take_record(const LogEntry& entry, bool is_doubtful);
    void compare_unit(const LogEntry& entry);
    void compare_counts();
    void name_records(const Range& block, Finding& finding);
    void report_blocks(const Segment& segment, const std::vector<Range>& wrong);
    void tell(std::uint64_t done);
    void add(Finding finding);
    void forget_deleted(const LogEntry& entry);
    void add_waiting();

    FileSystem& files_;
    const CheckOptions& options_;
    BlockSums sums_;
    CheckReport report_;
    std::unique_ptr<File> lock_;
    SegmentList list_;
    SegmentSet segments_;
    std::optional<LogReader> reader_;
    std::optional<StoredQueues> queues_;
    FirstMarks marks_;
    LostRangeList lost_;
    LogOffset durable_;  ///< what checkpoint and sums say was durable once
    bool is_over_ = false;
    std::uint64_t bytes_total_ = 0;
    std::uint64_t told_ = 0;
    std::map<std::string, Waiting> waiting_;  ///< by topic, until it is known not to be deleted
    std::vector<Range> in_wrong_;  ///< records in blocks of the segment whose sum is wrong
    std::vector<Range> unsound_;   ///< found to be damaged or missing
    std::vector<std::byte> buffer_;
};

void StoreCheck::add(Finding finding) {
    using Kind = Finding::Kind;
    const LogOffset end = finding.at + static_cast<std::int64_t>(finding.bytes);
    if (finding.kind == Kind::kDamage && is_lost(finding.at, end)) {
        finding.kind = Kind::kLost;
    }
    ++report_.findings_total;
    report_.is_good &= finding.kind == Kind::kTail || finding.kind == Kind::kLost;
    if (report_.findings.size() < options_.findings_max) {
        report_.findings.push_back(std::move(finding));
    }
}

void StoreCheck::tell(std::uint64_t done) {
    if (options_.on_progress && done >= told_ + kProgressBytes) {
        told_ = done;
        options_.on_progress(done, bytes_total_);
    }
}

Status StoreCheck::open() {
    const bool has_log = files_.exists(path("commitlog")) || files_.exists(path("volumes"));
    if (!has_log && !files_.exists(path("planted"))) {
        return Error{Errc::kNotFound, options_.directory.string() + " is no store: no commitlog"};
    }
    if (files_.exists(path("lock"))) {
        GANTRY_ASSIGN_OR_RETURN(lock_, files_.lock(path("lock")));
    }
    report_.was_stopped_cleanly = !files_.exists(path("abort"));
    if (has_log) {
        GANTRY_ASSIGN_OR_RETURN(list_, list_log_of(files_, options_.directory));
    }
    segments_.assign(list_);
    reader_.emplace(segments_);
    for (const SegmentPtr& segment : list_) {
        bytes_total_ += segment->bytes();
        // The walk is sequential: let the system read far ahead. Advice only.
        static_cast<void>(
            ::posix_fadvise(segment->file().descriptor(), 0, 0, POSIX_FADV_SEQUENTIAL));
    }
    return ok();
}

/// Checkpoint, snapshot, queue directory: how far the log was durable, and what is damaged itself.
Status StoreCheck::read_marks() {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Checkpoint> checkpoint,
                            load_checkpoint(files_, path("checkpoint")));
    durable_ = checkpoint ? checkpoint->at : LogOffset(0);
    if (!checkpoint && files_.exists(path("checkpoint"))) {
        add({.kind = Finding::Kind::kIndex,
             .file = path("checkpoint").string(),
             .what = "is no checkpoint: the next start replays the whole log"});
    }
    if (files_.exists(path("checksum"))) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> bases, sums_.segments());
        if (!bases.empty()) {
            GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> last, sums_.load(bases.back()));
            durable_ = last.empty() ? durable_ : std::max(durable_, last.back().end());
        }
    }
    std::vector<Finding> unmarked;
    GANTRY_ASSIGN_OR_RETURN(marks_, FirstMarks::load(files_, options_.directory, unmarked));
    for (Finding& finding : unmarked) {
        add(std::move(finding));
    }
    if (files_.exists(path("state"))) {
        GANTRY_ASSIGN_OR_RETURN(const LoadedSnapshot snapshot,
                                load_snapshot(files_, path("state")));
        if (!snapshot.note.empty()) {
            add({.kind = Finding::Kind::kIndex,
                 .file = path("state").string(),
                 .what = "a snapshot is damaged: " + snapshot.note});
        }
    }
    Result<StoredQueues> queues = StoredQueues::open(files_, path("consumequeue"));
    if (queues) {
        queues_.emplace(std::move(queues).value());
    } else if (queues.error().code == Errc::kCorrupt) {
        add({.kind = Finding::Kind::kIndex,
             .file = path("consumequeue").string(),
             .what = queues.error().detail});
    } else if (queues.error().code != Errc::kNotFound) {
        return std::move(queues).error();
    }
    return ok();
}

Status StoreCheck::read_lost() {
    GANTRY_ASSIGN_OR_RETURN(const auto opened, LostRanges::open(files_, path("lost")));
    if (!opened.damage.empty()) {
        add({.kind = Finding::Kind::kIndex,
             .file = path("lost").string(),
             .what = opened.damage + ": the next start walks the whole log"});
    }
    lost_ = *opened.ranges->snapshot();
    return ok();
}

bool StoreCheck::is_lost(LogOffset from, LogOffset to) const {
    const LostRange* lost = find_lost(lost_, from, from + 1);
    while (lost != nullptr && lost->to < to) {
        lost = find_lost(lost_, lost->to, lost->to + 1);
    }
    return lost != nullptr;
}

void StoreCheck::check_gaps() {
    const auto missing = [this](LogOffset at, LogOffset end) {
        Finding finding{.kind = Finding::Kind::kDamage,
                        .file = (path("commitlog") / segment_name(at)).string(),
                        .at = at,
                        .bytes = bytes_between(at, end),
                        .what = "a segment is missing"};
        if (queues_) {
            finding.messages = queues_->names_of(at, end, kNamesMax);
        }
        unsound_.push_back({at, end});
        add(std::move(finding));
    };
    for (std::size_t i = 1; i < list_.size(); ++i) {
        if (list_[i]->base() > list_[i - 1]->end()) {
            missing(list_[i - 1]->end(), list_[i]->base());
        } else if (list_[i]->base() < list_[i - 1]->end()) {
            add({.kind = Finding::Kind::kDamage,
                 .file = list_[i]->path().string(),
                 .at = list_[i]->base(),
                 .bytes = bytes_between(list_[i]->base(), list_[i - 1]->end()),
                 .what = "overlaps the segment before it"});
        }
    }
    const LogOffset end = list_.empty() ? marks_.first() : list_.back()->end();
    if (durable_ > end) {
        missing(end, durable_);
    }
}

Status StoreCheck::compare_sums(const Segment& segment, std::vector<Range>& wrong) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> sums, sums_.load(segment.base()));
    buffer_.resize(kSumBlocksAtOnce * BlockSums::kBlockBytes);
    LogOffset loaded;
    std::size_t loaded_bytes = 0;
    for (const BlockSum& block : sums) {
        if (block.end() > segment.end()) {
            wrong.push_back({block.at, block.end()});
            continue;
        }
        const bool is_loaded = loaded_bytes > 0 && block.at >= loaded &&
                               block.end() <= loaded + static_cast<std::int64_t>(loaded_bytes);
        if (!is_loaded) {
            GANTRY_ASSIGN_OR_RETURN(loaded_bytes, read_log(segments_, block.at, buffer_));
            loaded = block.at;
        }
        const Bytes bytes =
            Bytes(buffer_).subspan(static_cast<std::size_t>(block.at - loaded), block.bytes);
        ++report_.blocks_summed;
        if (xxh3(bytes) != block.sum) {
            wrong.push_back({block.at, block.end()});
        }
    }
    return ok();
}

Status StoreCheck::check_segment(const SegmentPtr& segment) {
    std::vector<Range> wrong;
    GANTRY_TRY(compare_sums(*segment, wrong));
    in_wrong_.clear();
    GANTRY_TRY(walk(*segment, wrong));
    report_blocks(*segment, wrong);
    report_.bytes_read += segment->bytes();
    return ok();
}

void StoreCheck::report_blocks(const Segment& segment, const std::vector<Range>& wrong) {
    for (const Range& block : wrong) {
        const auto explains = [&block](const Range& damage) {
            return damage.at < block.end && damage.end > block.at;
        };
        if (std::any_of(unsound_.begin(), unsound_.end(), explains)) {
            continue;  // the walk has found it
        }
        Finding finding{.kind = Finding::Kind::kDamage,
                        .file = segment.path().string(),
                        .at = block.at,
                        .bytes = bytes_between(block.at, block.end),
                        .what =
                            "the checksum of a block does not match, though each record's own "
                            "does: a field outside the bodies has changed"};
        name_records(block, finding);
        unsound_.push_back(block);
        add(std::move(finding));
    }
}

/// By the consume queues where there are any: what a record says of itself may be what changed.
void StoreCheck::name_records(const Range& block, Finding& finding) {
    if (queues_) {
        finding.messages = queues_->names_of(block.at, block.end, kNamesMax);
    }
    for (const Range& record : in_wrong_) {
        const bool overlaps = record.at < block.end && record.end > block.at;
        if (queues_ || !overlaps || finding.messages.size() >= kNamesMax) {
            continue;
        }
        if (const Result<LogEntry> entry = reader_->read(record.at)) {
            finding.messages.push_back(message_name(
                entry->record.topic, entry->record.queue_id, entry->record.queue_offset.value));
        }
    }
}

Status StoreCheck::walk(const Segment& segment, const std::vector<Range>& wrong) {
    LogOffset at = segment.base();
    while (at < segment.end() && !is_over_) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader_->read(at));
        if (entry.kind == LogEntry::Kind::kRecord) {
            const bool is_doubtful =
                std::any_of(wrong.begin(), wrong.end(), [&entry](const Range& block) {
                    return entry.at < block.end && entry.end > block.at;
                });
            take_record(entry, is_doubtful);
        } else if (entry.kind != LogEntry::Kind::kBlank) {
            GANTRY_TRY(take_damage(entry, segment));
        }
        at = entry.end;
        if (at == entry.at) {
            GANTRY_ASSIGN_OR_RETURN(at, reader_->find_record(at + 1, segment.end()));
        }
        tell(report_.bytes_read + bytes_between(segment.base(), at));
    }
    return ok();
}

Status StoreCheck::take_damage(const LogEntry& bad, const Segment& segment) {
    const LogOffset log_end = list_.back()->end();
    std::vector<std::string> named;  // before the reader moves on
    if (bad.end > bad.at) {
        named = {
            message_name(bad.record.topic, bad.record.queue_id, bad.record.queue_offset.value)};
    }
    GANTRY_ASSIGN_OR_RETURN(const LogOffset next, reader_->find_record(bad.at + 1, segment.end()));
    const bool is_last = next == segment.end() && (&segment == list_.back().get() || [&] {
                             const Result<LogOffset> later =
                                 reader_->find_record(segment.end(), log_end);
                             return later && *later == log_end;
                         }());
    if (!is_last || bad.at < durable_) {
        Finding finding{.kind = Finding::Kind::kDamage,
                        .file = segment.path().string(),
                        .at = bad.at,
                        .bytes = bytes_between(bad.at, next),
                        .what = bad.why.empty() ? "zeros where a record was" : bad.why};
        if (bad.end > bad.at) {
            finding.bytes = bytes_between(bad.at, bad.end);
            finding.messages = std::move(named);
        } else if (queues_) {
            finding.messages = queues_->names_of(bad.at, next, kNamesMax);
        }
        is_over_ = is_last && bad.end == bad.at;
        unsound_.push_back({bad.at, bad.at + static_cast<std::int64_t>(finding.bytes)});
        add(std::move(finding));
        return ok();
    }
    is_over_ = true;
    GANTRY_ASSIGN_OR_RETURN(const LogOffset data_end, reader_->end_of_data(bad.at, log_end));
    if (data_end > bad.at) {
        add({.kind = Finding::Kind::kTail,
             .file = segment.path().string(),
             .at = bad.at,
             .bytes = bytes_between(bad.at, data_end),
             .what = "the log ends in bytes that are no record: " + bad.why});
    }
    return ok();
}

void StoreCheck::take_record(const LogEntry& entry, bool is_doubtful) {
    ++report_.records;
    report_.end = entry.end;
    if (find_lost(lost_, entry.at, entry.end) != nullptr) {
        return;
    }
    if (is_doubtful) {
        in_wrong_.push_back({entry.at, entry.end});
    } else if (queues_ && entry.end <= queues_->published()) {
        compare_unit(entry);
        forget_deleted(entry);
    }
}

void StoreCheck::compare_unit(const LogEntry& entry) {
    const wire::Record& record = entry.record;
    StoredQueues::Queue* const queue = queues_->find(record.topic, record.queue_id);
    if (queue == nullptr || record.queue_offset.value < queue->listed->entry.min) {
        return;  // of a deleted topic, or behind the queue
    }
    if (marks_.is_unlisted(record, entry.at)) {
        return;
    }
    const std::optional<QueueUnit> first = queues_->unit(*queue, queue->listed->entry.min);
    if (first && !first->is_hole() && entry.at < first->at) {
        return;  // of a topic of that name that was deleted before
    }
    const std::optional<QueueUnit> unit = queues_->unit(*queue, record.queue_offset.value);
    const QueueUnit expected{
        entry.at, static_cast<std::int32_t>(record.stored_bytes), unit_tag(record.properties)};
    ++report_.units_compared;
    ++queue->met;
    if (unit == expected) {
        return;
    }
    const std::string found = unit ? "points to " + std::to_string(unit->at.value) + ", " +
                                         std::to_string(unit->size) + " B, tag " +
                                         std::to_string(unit->tag)
                                   : std::string("is missing");
    Waiting& waiting = waiting_[std::string(record.topic)];
    ++waiting.total;
    if (waiting.findings.size() < options_.findings_max) {
        waiting.findings.push_back(
            {.kind = Finding::Kind::kIndex,
             .file = path("consumequeue").string(),
             .at = entry.at,
             .bytes = record.stored_bytes,
             .what = "the unit of this message " + found,
             .messages = {message_name(record.topic, record.queue_id, record.queue_offset.value)}});
    }
}

/// A topic that was deleted and made again may have no unit yet that would tell its lives apart.
void StoreCheck::forget_deleted(const LogEntry& entry) {
    wire::StateRecord record;
    const Bytes body = entry.record.body;
    if (waiting_.empty() || entry.record.topic != kStateTopic || entry.record.queue_id != 0 ||
        !record.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return;
    }
    for (const wire::StateChange& change : record.changes()) {
        if (change.change_case() == wire::StateChange::kTopicDelete) {
            waiting_.erase(change.topicdelete());
        }
    }
}

void StoreCheck::add_waiting() {
    for (auto& [topic, waiting] : waiting_) {
        report_.findings_total += waiting.total - waiting.findings.size();
        for (Finding& finding : waiting.findings) {
            add(std::move(finding));
        }
    }
}

/// Units that no record has asked for.
void StoreCheck::compare_counts() {
    for (const StoredQueues::Queue& queue : queues_->all()) {
        const QueueEntry& entry = queue.listed->entry;
        const auto listed = static_cast<std::uint64_t>(entry.max - entry.min);
        if (queue.met >= listed) {
            continue;
        }
        std::uint64_t holes = 0;
        for (std::int64_t at = entry.min; at < entry.max; ++at) {
            const std::optional<QueueUnit> unit = queues_->unit(queue, at);
            holes += unit && unit->is_hole() ? 1 : 0;
        }
        if (queue.met + holes < listed) {
            add({.kind = Finding::Kind::kIndex,
                 .file = path("consumequeue").string(),
                 .what = "queue " + std::to_string(entry.queue_id) + " of topic " + *queue.topic +
                         " lists " + std::to_string(listed - holes) + " messages, the log has " +
                         std::to_string(queue.met) + " of them"});
        }
    }
}

Result<CheckReport> StoreCheck::run() {
    GANTRY_TRY(open());
    GANTRY_TRY(read_lost());
    GANTRY_TRY(read_marks());
    check_gaps();
    report_.first = list_.empty() ? marks_.first() : list_.front()->base();
    report_.end = report_.first;
    for (const SegmentPtr& segment : list_) {
        if (is_over_) {
            break;
        }
        ++report_.segments;
        GANTRY_TRY(check_segment(segment));
    }
    add_waiting();
    // Lost records explain units that point nowhere.
    if (queues_ && unsound_.empty() && lost_.empty()) {
        compare_counts();
    }
    return std::move(report_);
}

}  // namespace

Result<CheckReport> check_store(FileSystem& files, const CheckOptions& options) {
    return StoreCheck(files, options).run();
}

}  // namespace gantry::storage
