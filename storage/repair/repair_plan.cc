// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_dump.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_reader.h"
#include "storage/log/segment.h"
#include "storage/repair/store_repair.h"
#include "storage/replica/store_cut.h"
#include "storage/state_snapshot.h"

#include <algorithm>
#include <limits>
#include <memory>

namespace gantry::storage {
namespace {

class Planner {
public:
    Planner(FileSystem& files, const RepairOptions& options) : files_(files), options_(options) {}

    Result<RepairPlan> run();

private:
    std::filesystem::path path(const char* name) const { return options_.directory / name; }

    Status open();
    Status choose_cut();
    Result<LogOffset> record_at_or_before(LogOffset at);
    Status count_lost();
    void choose_rebuilds();
    Status choose_quarantine();
    Result<RepairPlan::Piece> piece_of(const Finding& finding);

    bool is_cut(const Finding& finding) const { return plan_.cut && finding.at >= *plan_.cut; }

    void choose_remaining();

    FileSystem& files_;
    const RepairOptions& options_;
    RepairPlan plan_;
    SegmentList list_;
    SegmentSet segments_;
};

Status Planner::open() {
    if (files_.exists(path("volumes"))) {
        return Error{Errc::kRefused,
                     options_.directory.string() +
                         " has several log directories: repair knows only commitlog"};
    }
    CheckOptions check;
    check.directory = options_.directory;
    check.findings_max = std::numeric_limits<std::size_t>::max();
    if (options_.on_progress) {
        check.on_progress = [this](std::uint64_t done, std::uint64_t total) {
            options_.on_progress("checking", done, total);
        };
    }
    GANTRY_ASSIGN_OR_RETURN(plan_.before, check_store(files_, check));
    plan_.is_copy = files_.exists(path("replica") / "identity") || files_.exists(path("planted"));
    if (files_.exists(path("commitlog"))) {
        GANTRY_ASSIGN_OR_RETURN(list_, list_segments(files_, path("commitlog")));
    }
    segments_.assign(list_);
    if (files_.exists(path("state"))) {
        GANTRY_ASSIGN_OR_RETURN(plan_.bad_snapshots, damaged_snapshots(files_, path("state")));
    }
    return ok();
}

/// Start of the entry that contains `at`, found by walking its segment.
Result<LogOffset> Planner::record_at_or_before(LogOffset at) {
    const SegmentPtr segment = segments_.find(at);
    if (segment == nullptr) {
        return at;
    }
    LogReader reader(segments_);
    LogOffset start = segment->base();
    while (start < at) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader.read(start));
        LogOffset end = entry.end;
        if (end == start) {
            GANTRY_ASSIGN_OR_RETURN(end, reader.find_record(start + 1, segment->end()));
        }
        if (end > at) {
            break;
        }
        start = end;
    }
    return start;
}

Status Planner::choose_cut() {
    if (options_.quarantines && options_.cuts_at_first_damage) {
        return Error{Errc::kRefused,
                     "--cut-at first-damage leaves nothing to --quarantine: say one of them"};
    }
    if (options_.cut_at) {
        const LogOffset at = *options_.cut_at;
        if (at < plan_.before.first || (!list_.empty() && at > list_.back()->end())) {
            return Error{Errc::kRefused,
                         "--cut-at " + std::to_string(at.value) + " is outside the log, " +
                             std::to_string(plan_.before.first.value) + " to " +
                             std::to_string(plan_.before.end.value)};
        }
        GANTRY_ASSIGN_OR_RETURN(const LogOffset start, record_at_or_before(at));
        if (start != at) {
            return Error{Errc::kRefused,
                         "--cut-at " + std::to_string(at.value) +
                             " is inside the record or damage that begins at " +
                             std::to_string(start.value)};
        }
        plan_.cut = at;
    } else if (options_.cuts_at_first_damage) {
        for (const Finding& finding : plan_.before.findings) {
            if (finding.kind == Finding::Kind::kDamage && finding.bytes > 0 &&
                (!plan_.cut || finding.at < *plan_.cut)) {
                plan_.cut = finding.at;
            }
        }
        if (plan_.cut) {
            GANTRY_ASSIGN_OR_RETURN(plan_.cut, record_at_or_before(*plan_.cut));
        }
    }
    if (!plan_.cut) {
        return ok();
    }
    if (plan_.is_copy) {
        GANTRY_TRY(may_cut(files_, options_.directory, plan_.before.first, *plan_.cut));
    }
    LogReader reader(segments_);
    const LogOffset end = list_.empty() ? *plan_.cut : list_.back()->end();
    plan_.data_end = *plan_.cut;
    for (const SegmentPtr& segment : list_) {
        const LogOffset from = std::max(segment->base(), *plan_.cut);
        if (from < segment->end()) {
            GANTRY_ASSIGN_OR_RETURN(const LogOffset data,
                                    reader.end_of_data(from, std::min(segment->end(), end)));
            plan_.data_end = data > from ? data : plan_.data_end;
        }
    }
    return count_lost();
}

Status Planner::count_lost() {
    DumpOptions dump;
    dump.directory = options_.directory;
    dump.from = *plan_.cut;
    const auto each = [this](const DumpItem& item) -> Status {
        if (item.kind != DumpItem::Kind::kRecord) {
            plan_.lost_damage.push_back("log offset " + std::to_string(item.at.value) + ", " +
                                        std::to_string(item.bytes) + " B: " + item.why);
            return ok();
        }
        ++plan_.lost_messages;
        CutQueue& queue = plan_.lost[{std::string(item.record->topic), item.record->queue_id}];
        const std::int64_t at = item.record->queue_offset.value;
        queue.first = queue.messages == 0 ? at : std::min(queue.first, at);
        queue.last = queue.messages == 0 ? at : std::max(queue.last, at);
        ++queue.messages;
        return ok();
    };
    GANTRY_TRY(dump_store(files_, dump, each));
    plan_.backup = options_.has_backup ? options_.backup : std::filesystem::path();
    if (options_.has_backup && options_.backup.empty()) {
        plan_.backup = path("cut-");
        plan_.backup += segment_name(*plan_.cut) + ".log";
    }
    if (!plan_.backup.empty() && plan_.data_end > *plan_.cut) {
        if (files_.exists(plan_.backup)) {
            return Error{Errc::kRefused, plan_.backup.string() + " exists: say another --backup"};
        }
        plan_.steps.push_back("copy " + std::to_string(bytes_between(*plan_.cut, plan_.data_end)) +
                              " B behind the cut to " + plan_.backup.string());
    }
    plan_.steps.push_back("cut the log at " + std::to_string(plan_.cut->value) + ": " +
                          std::to_string(plan_.lost_messages) + " whole messages are lost");
    if (plan_.is_copy) {
        plan_.steps.emplace_back(
            "remove the storage id: for its group this is another copy, not in sync");
    }
    return ok();
}

void Planner::choose_rebuilds() {
    const std::string queues = path("consumequeue").string();
    const std::string checkpoint = path("checkpoint").string();
    plan_.rebuilds_queues = options_.rebuilds_all || !files_.exists(queues);
    plan_.rebuilds_keys = options_.rebuilds_all || !files_.exists(path("index"));
    if (!files_.exists(checkpoint)) {
        plan_.steps.emplace_back("write the checkpoint, which is missing");
    }
    for (const Finding& finding : plan_.before.findings) {
        if (finding.kind == Finding::Kind::kIndex) {
            plan_.rebuilds_queues = plan_.rebuilds_queues || finding.file == queues;
            plan_.removes_checkpoint = plan_.removes_checkpoint || finding.file == checkpoint;
        }
    }
    if (plan_.rebuilds_queues) {
        plan_.steps.push_back("rebuild the consume queues from the log");
    }
    if (plan_.rebuilds_keys) {
        plan_.steps.push_back("rebuild the key index from the log");
    }
    if (plan_.removes_checkpoint) {
        plan_.steps.push_back("remove the checkpoint, which is none");
    }
    for (const std::string& name : plan_.bad_snapshots) {
        plan_.steps.push_back("remove the damaged snapshot " + name);
    }
    if (plan_.blocks_unsummed > 0) {
        plan_.steps.push_back("add the checksums of " + std::to_string(plan_.blocks_unsummed) +
                              " blocks");
    }
    for (const Finding& finding : plan_.before.findings) {
        if (finding.kind == Finding::Kind::kTail && !plan_.cut) {
            plan_.steps.push_back("cut " + std::to_string(finding.bytes) + " B of a torn tail at " +
                                  std::to_string(finding.at.value) + ", as a start does");
        }
    }
}

/// A finding from the beginning of a record to the end of one: readers and starts go on there.
Result<RepairPlan::Piece> Planner::piece_of(const Finding& finding) {
    const LogOffset end = finding.at + static_cast<std::int64_t>(finding.bytes);
    GANTRY_ASSIGN_OR_RETURN(const LogOffset from, record_at_or_before(finding.at));
    RepairPlan::Piece piece{from, end, finding.what, finding.messages};
    const SegmentPtr segment = segments_.find(from);
    if (segment == nullptr) {
        return piece;
    }
    LogReader reader(segments_);
    LogOffset at = from;
    while (at < std::min(end, segment->end())) {
        GANTRY_ASSIGN_OR_RETURN(const LogEntry entry, reader.read(at));
        LogOffset behind = entry.end;
        if (behind <= at) {
            GANTRY_ASSIGN_OR_RETURN(behind, reader.find_record(at + 1, segment->end()));
        }
        at = behind;
    }
    piece.to = std::max(at, end);
    return piece;
}

Status Planner::choose_quarantine() {
    if (!options_.quarantines) {
        return ok();
    }
    std::uint64_t bytes = 0;
    std::uint64_t messages = 0;
    for (const Finding& finding : plan_.before.findings) {
        if (finding.kind == Finding::Kind::kDamage && finding.bytes > 0 && !is_cut(finding)) {
            GANTRY_ASSIGN_OR_RETURN(RepairPlan::Piece piece, piece_of(finding));
            bytes += bytes_between(piece.from, piece.to);
            messages += piece.messages.size();
            plan_.quarantined.push_back(std::move(piece));
        }
    }
    if (!plan_.quarantined.empty()) {
        plan_.steps.push_back("keep " + std::to_string(plan_.quarantined.size()) +
                              " damaged place(s), " + std::to_string(bytes) + " B, from readers: " +
                              std::to_string(messages) + " messages are lost");
    }
    return ok();
}

void Planner::choose_remaining() {
    for (const Finding& finding : plan_.before.findings) {
        const bool is_quarantined = options_.quarantines && finding.bytes > 0;
        if (finding.kind == Finding::Kind::kDamage && !is_cut(finding) && !is_quarantined) {
            plan_.remaining.push_back(finding);
        }
    }
}

Result<RepairPlan> Planner::run() {
    GANTRY_TRY(open());
    if (!files_.exists(path("commitlog"))) {
        choose_remaining();
        return std::move(plan_);  // planted, and never opened
    }
    GANTRY_TRY(choose_cut());
    const LogOffset end = plan_.cut ? std::min(*plan_.cut, plan_.before.end) : plan_.before.end;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<UnsummedPart> parts,
                            unsummed_parts(files_, options_.directory, end));
    for (const UnsummedPart& part : parts) {
        plan_.blocks_unsummed += part.blocks;
    }
    GANTRY_TRY(choose_quarantine());
    choose_rebuilds();
    choose_remaining();
    return std::move(plan_);
}

}  // namespace

const Finding* RepairPlan::beyond_repair() const noexcept {
    const auto found = std::find_if(remaining.begin(), remaining.end(), [](const Finding& finding) {
        return finding.bytes == 0;
    });
    return found == remaining.end() ? nullptr : &*found;
}

Result<std::vector<UnsummedPart>> unsummed_parts(FileSystem& files,
                                                 const std::filesystem::path& store,
                                                 LogOffset end) {
    std::vector<UnsummedPart> parts;
    const BlockSums sums(files, store / "checksum");
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_segments(files, store / "commitlog"));
    for (const SegmentPtr& segment : list) {
        const LogOffset segment_end = std::min(segment->end(), end);
        if (segment->base() >= segment_end) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<BlockSum> blocks, sums.load(segment->base()));
        auto block = blocks.begin();
        for (LogOffset at = segment->base(); at < segment_end;
             at += std::int64_t{BlockSums::kBlockBytes}) {
            const LogOffset wanted =
                std::min(at + std::int64_t{BlockSums::kBlockBytes}, segment_end);
            block = std::find_if(
                block, blocks.end(), [at](const BlockSum& sum) { return sum.at >= at; });
            if (block != blocks.end() && block->at == at && block->end() >= wanted) {
                continue;
            }
            const bool goes_on = !parts.empty() && parts.back().to == at &&
                                 parts.back().segment->base() == segment->base();
            if (!goes_on) {
                parts.push_back({segment, at, at, 0});
            }
            parts.back().to = wanted;
            ++parts.back().blocks;
        }
    }
    return parts;
}

Result<RepairPlan> plan_repair(FileSystem& files, const RepairOptions& options) {
    return Planner(files, options).run();
}

}  // namespace gantry::storage
