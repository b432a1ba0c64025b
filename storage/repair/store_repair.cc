// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/store_repair.h"

#include "common/metrics.h"
#include "storage/check/stored_queues.h"
#include "storage/index/queue_index.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_reader.h"
#include "storage/log/lost_ranges.h"
#include "storage/replica/planted_mark.h"
#include "storage/state_snapshot.h"
#include "storage/store.h"

#include <algorithm>
#include <memory>
#include <system_error>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;

/// A queue, and where it stood before its index was taken away.
struct QueueEnd {
    std::string topic;
    std::int32_t queue_id = 0;
    std::int64_t max = 0;
};

class Repair {
public:
    Repair(FileSystem& files, Clock& clock, const RepairOptions& options, const RepairPlan& plan)
        : files_(files), clock_(clock), options_(options), plan_(plan) {}

    Result<RepairReport> run();

private:
    fs::path path(const char* name) const { return options_.directory / name; }

    Status refuse_remaining() const;
    Status change_files();
    Status back_up(const SegmentSet& segments);
    Status quarantine();
    Status remove_marks();
    Status forget_identity();
    Status keep_state(LogOffset cut);
    Status cut_segments(const SegmentList& list);
    Status remove_folder(const char* name);
    void remember_queue_ends();
    Status rebuild();
    Status look_killed();
    Status move_offsets(Store& store);
    Status add_sums();
    Result<std::uint64_t> segment_bytes() const;

    FileSystem& files_;
    Clock& clock_;
    const RepairOptions& options_;
    const RepairPlan& plan_;
    std::vector<QueueEnd> ends_;
    RepairReport report_;
};

Status Repair::refuse_remaining() const {
    if (plan_.remaining.empty()) {
        return ok();
    }
    if (const Finding* const beyond = plan_.beyond_repair()) {
        return Error{Errc::kCorrupt, beyond->file + ": " + beyond->what};
    }
    const Finding& first = plan_.remaining.front();
    return Error{Errc::kCorrupt,
                 "the log is damaged in " + std::to_string(plan_.remaining.size()) +
                     " place(s), the first at log offset " + std::to_string(first.at.value) + ", " +
                     std::to_string(first.bytes) + " B: " + first.what +
                     ": say what becomes of it (--cut-at, --quarantine)"};
}

Status Repair::back_up(const SegmentSet& segments) {
    GANTRY_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                            files_.open(plan_.backup, FileSystem::Open::kCreate));
    std::vector<std::byte> buffer(kChunkBytes);
    for (LogOffset at = *plan_.cut; at < plan_.data_end;) {
        const auto wanted = std::min<std::uint64_t>(bytes_between(at, plan_.data_end), kChunkBytes);
        const Result<std::size_t> got = read_log(segments, at, MutableBytes(buffer).first(wanted));
        if (!got && got.error().code != Errc::kNotFound) {
            return got.error();
        }
        // A missing segment stays a hole of the file, so that positions in it keep their meaning.
        const std::size_t bytes = got ? *got : wanted;
        if (bytes == 0) {
            return Error{Errc::kIo, "the log ends at " + std::to_string(at.value)};
        }
        if (got) {
            GANTRY_TRY(file->write_at(bytes_between(*plan_.cut, at), Bytes(buffer).first(bytes)));
            report_.bytes_backed_up += bytes;
        }
        at += static_cast<std::int64_t>(bytes);
        if (options_.on_progress) {
            options_.on_progress("backing up",
                                 bytes_between(*plan_.cut, at),
                                 bytes_between(*plan_.cut, plan_.data_end));
        }
    }
    GANTRY_TRY(file->sync_data());
    const fs::path parent = plan_.backup.parent_path();
    return files_.sync_directory(parent.empty() ? fs::path(".") : parent);
}

/// When the log no longer begins at 0, what was defined before is in snapshots only: the newest
/// one stands for the state at the cut. A copy has an older one: it gets what was cut again.
Status Repair::keep_state(LogOffset cut) {
    GANTRY_ASSIGN_OR_RETURN(LoadedSnapshot loaded, load_snapshot(files_, path("state")));
    if (!loaded.found || LogOffset(loaded.snapshot.logoffset()) <= cut) {
        return ok();
    }
    std::vector<std::string> newer;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.list(path("state")));
    for (const std::string& name : names) {
        const auto at = parse_segment_name(std::string_view(name).substr(0, name.find('.')));
        if (at && *at > cut) {
            newer.push_back(name);
        }
    }
    // The newest goes last: until the other is durable there is one.
    for (std::size_t i = 0; i < newer.size(); ++i) {
        if (i + 1 == newer.size() && plan_.before.first > LogOffset(0) && !plan_.is_copy) {
            loaded.snapshot.set_logoffset(cut.value);
            GANTRY_TRY(save_snapshot(files_, path("state"), loaded.snapshot));
        }
        GANTRY_TRY(files_.remove(path("state") / newer[i]));
    }
    return files_.sync_directory(path("state"));
}

/// From now on, before anything else changes: a start in between serves the rest.
Status Repair::quarantine() {
    if (plan_.quarantined.empty()) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const LostRanges::Opened opened,
                            LostRanges::open(files_, path("lost")));
    LostRangeList ranges;
    for (const RepairPlan::Piece& piece : plan_.quarantined) {
        ranges.push_back(
            {piece.from, piece.to, clock_.wall_ms(), piece.messages.size(), piece.what});
    }
    const Result<LostRangeList> added = opened.ranges->add(ranges);
    return added ? ok() : Status(added.error());
}

Status Repair::remove_marks() {
    if ((plan_.cut || plan_.removes_checkpoint) && files_.exists(path("checkpoint"))) {
        GANTRY_TRY(files_.remove(path("checkpoint")));
    }
    for (const std::string& name : plan_.bad_snapshots) {
        GANTRY_TRY(files_.remove(path("state") / name));
    }
    if (plan_.cut && files_.exists(path("state"))) {
        GANTRY_TRY(keep_state(*plan_.cut));
    }
    return files_.sync_directory(options_.directory);
}

/// What is cut may have been acknowledged as this copy's.
Status Repair::forget_identity() {
    const fs::path identity = path("replica") / "identity";
    if (!files_.exists(identity)) {
        return ok();
    }
    GANTRY_TRY(files_.remove(identity));
    return files_.sync_directory(identity.parent_path());
}

Status Repair::cut_segments(const SegmentList& list) {
    const LogOffset cut = *plan_.cut;
    BlockSums sums(files_, path("checksum"));
    GANTRY_TRY(sums.open());
    GANTRY_TRY(sums.cut(cut));
    // From the last one on, so that a stop in between leaves no gap.
    for (auto segment = list.rbegin(); segment != list.rend(); ++segment) {
        if ((*segment)->base() >= cut) {
            GANTRY_TRY(files_.remove((*segment)->path()));
            GANTRY_TRY(files_.sync_directory(path("commitlog")));
        } else if ((*segment)->end() > cut) {
            // Freed and reserved again, the rest reads as zeros.
            GANTRY_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                                    files_.open((*segment)->path(), FileSystem::Open::kReadWrite));
            GANTRY_TRY(file->truncate(bytes_between((*segment)->base(), cut)));
            GANTRY_TRY(file->sync_data());
            GANTRY_TRY(file->allocate((*segment)->bytes()));
            GANTRY_TRY(file->sync_data());
        }
    }
    return ok();
}

Status Repair::remove_folder(const char* name) {
    std::error_code failed;
    fs::remove_all(path(name), failed);
    if (failed) {
        return Error{Errc::kIo, "removal of " + path(name).string() + ": " + failed.message()};
    }
    return files_.sync_directory(options_.directory);
}

/// Queues whose messages have all expired are nowhere but in their index.
void Repair::remember_queue_ends() {
    const Result<StoredQueues> queues = StoredQueues::open(files_, path("consumequeue"));
    if (!queues) {
        return;
    }
    for (const StoredQueues::Queue& queue : queues->all()) {
        const QueueEntry& entry = queue.listed->entry;
        if (entry.max > 0) {
            ends_.push_back({*queue.topic, entry.queue_id, entry.max});
        }
    }
}

Status Repair::change_files() {
    std::unique_ptr<File> lock;
    if (files_.exists(path("lock"))) {
        GANTRY_ASSIGN_OR_RETURN(lock, files_.lock(path("lock")));
    }
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_segments(files_, path("commitlog")));
    SegmentSet segments;
    segments.assign(list);
    if (plan_.cut && !plan_.backup.empty() && plan_.data_end > *plan_.cut) {
        GANTRY_TRY(back_up(segments));
    }
    if (plan_.rebuilds_queues && !plan_.cut && plan_.before.first > LogOffset(0)) {
        remember_queue_ends();
    }
    GANTRY_TRY(quarantine());
    GANTRY_TRY(remove_marks());
    if (plan_.cut) {
        GANTRY_TRY(forget_identity());
        GANTRY_TRY(cut_segments(list));
    }
    if (plan_.rebuilds_queues) {
        GANTRY_TRY(remove_folder("consumequeue"));
    }
    return plan_.rebuilds_keys ? remove_folder("index") : ok();
}

Result<std::uint64_t> Repair::segment_bytes() const {
    constexpr std::uint64_t kMin = 4'096;
    constexpr std::uint64_t kMax = std::uint64_t{1} << 30U;
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_segments(files_, path("commitlog")));
    if (!list.empty()) {
        return std::clamp(list.back()->bytes(), kMin, kMax);
    }
    GANTRY_ASSIGN_OR_RETURN(const auto planted, PlantedMark::load(files_, options_.directory));
    return planted ? static_cast<std::uint64_t>(planted->seed().segmentbytes()) : kMax;
}

/// A group that had read what was cut goes on at the end: not behind it, past new messages.
Status Repair::move_offsets(Store& store) {
    wire::StateRecord moved;
    for (Topic* const topic : store.topics()) {
        for (const wire::OffsetPut& put : store.state().offsets_of_topic(topic->name())) {
            const Queue* const queue = topic->queue(put.queueid());
            if (queue != nullptr && put.offset() > queue->max().value) {
                wire::OffsetPut& change = *moved.add_changes()->mutable_offsetput();
                change = put;
                change.set_offset(queue->max().value);
            }
        }
    }
    report_.offsets_moved = static_cast<std::uint64_t>(moved.changes_size());
    if (moved.changes_size() > 0) {
        GANTRY_TRY(store.state().commit(moved));
    }
    return ok();
}

Status Repair::rebuild() {
    MetricRegistry metrics;
    StoreOptions store;
    store.directory = options_.directory;
    GANTRY_ASSIGN_OR_RETURN(store.segment_bytes, segment_bytes());
    store.is_follower = plan_.is_copy;  // appends nothing
    store.prefault_bytes = 0;
    store.free_bytes_min = 0;
    store.on_damage = OnDamage::kRefuse;  // what becomes of damage has been decided before
    if (options_.on_progress) {
        options_.on_progress("rebuilding", 0, plan_.before.records);
    }
    GANTRY_ASSIGN_OR_RETURN(const Store::Opened opened,
                            Store::open(files_, clock_, metrics, store));
    for (const QueueEnd& end : ends_) {
        Topic* const topic = opened.store->find_topic(end.topic);
        Queue* const queue = topic == nullptr ? nullptr : topic->queue(end.queue_id);
        if (queue != nullptr) {
            queue->index->begin_at(QueueOffset(end.max));
        }
    }
    if (plan_.cut && !plan_.is_copy) {
        GANTRY_TRY(move_offsets(*opened.store));
    }
    return opened.store->close();
}

/// The next start of the broker decides by this file whether the copy may lack something.
Status Repair::look_killed() {
    GANTRY_ASSIGN_OR_RETURN(const auto file, files_.open(path("abort"), FileSystem::Open::kCreate));
    return files_.sync_directory(options_.directory);
}

Status Repair::add_sums() {
    BlockSums sums(files_, path("checksum"));
    GANTRY_TRY(sums.open());
    GANTRY_ASSIGN_OR_RETURN(const std::vector<UnsummedPart> parts,
                            unsummed_parts(files_, options_.directory, plan_.before.end));
    for (const UnsummedPart& part : parts) {
        GANTRY_TRY(sums.add(*part.segment, part.from, part.to));
        report_.blocks_summed += part.blocks;
    }
    return ok();
}

Result<RepairReport> Repair::run() {
    GANTRY_TRY(refuse_remaining());
    GANTRY_TRY(change_files());
    GANTRY_TRY(rebuild());
    if (plan_.is_copy && !plan_.before.was_stopped_cleanly) {
        GANTRY_TRY(look_killed());
    }
    if (plan_.blocks_unsummed > 0 && !plan_.cut) {
        GANTRY_TRY(add_sums());
    }
    CheckOptions check;
    check.directory = options_.directory;
    if (options_.on_progress) {
        check.on_progress = [this](std::uint64_t done, std::uint64_t total) {
            options_.on_progress("checking again", done, total);
        };
    }
    GANTRY_ASSIGN_OR_RETURN(report_.after, check_store(files_, check));
    return std::move(report_);
}

}  // namespace

Result<RepairReport> apply_repair(FileSystem& files,
                                  Clock& clock,
                                  const RepairOptions& options,
                                  const RepairPlan& plan) {
    return Repair(files, clock, options, plan).run();
}

}  // namespace gantry::storage
