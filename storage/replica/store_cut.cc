// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/store_cut.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/check/closed_store.h"
#include "storage/checkpoint.h"
#include "storage/index/queue_directory.h"
#include "storage/log/block_sums.h"
#include "storage/log/log_cut.h"
#include "storage/log/log_reader.h"
#include "storage/log/log_volumes.h"
#include "storage/log/lost_ranges.h"
#include "storage/replica/planted_mark.h"
#include "storage/state_snapshot.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr Logger kLog("storage");
constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;
constexpr std::uint64_t kDirectoryBytesMax = std::uint64_t{4} << 30U;

/// The first path of `stem`-1, `stem`-2 … that is not there.
fs::path unused(FileSystem& files, const fs::path& stem) {
    for (int number = 1;; ++number) {
        fs::path path = stem;
        path += "-" + std::to_string(number);
        if (!files.exists(path)) {
            return path;
        }
    }
}

/// One cut of one store, in the order in which a stop does no harm.
class Cut {
public:
    Cut(FileSystem& files, const StoreOptions& options, LogOffset at)
        : files_(files), options_(options), at_(at) {}

    Result<StoreCut> run();

private:
    fs::path path(const char* name) const { return options_.directory / name; }

    Status open();
    Status check() const;
    Status copy();
    Status forget_newer();
    Result<bool> has_newer_index() const;
    Status remove_newer_snapshots() const;
    Status cut_log();

    FileSystem& files_;
    const StoreOptions& options_;
    const LogOffset at_;
    SegmentList list_;
    SegmentSet segments_;
    LogOffset first_;
    LogOffset data_end_;
    StoreCut cut_;
};

Status Cut::open() {
    if (files_.exists(path("commitlog")) || files_.exists(path("volumes"))) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<fs::path> directories,
                                noted_log_directories(files_, options_.directory));
        GANTRY_ASSIGN_OR_RETURN(list_, open_segments(files_, directories));
    }
    segments_.assign(list_);
    first_ = list_.empty() ? LogOffset(0) : list_.front()->base();
    data_end_ = at_;
    if (!list_.empty() && at_ < list_.back()->end()) {
        LogReader reader(segments_);
        GANTRY_ASSIGN_OR_RETURN(data_end_, reader.end_of_data(at_, list_.back()->end()));
    }
    return ok();
}

/// Whether what is left can be understood without what goes.
Status Cut::check() const {
    const auto refused = [this](const std::string& why) {
        return Error{Errc::kRefused,
                     options_.directory.string() + " cannot be cut at log offset " +
                         std::to_string(at_.value) + ": " + why};
    };
    if (at_ < first_) {
        return refused("its log begins at " + std::to_string(first_.value));
    }
    GANTRY_ASSIGN_OR_RETURN(const auto planted, PlantedMark::load(files_, options_.directory));
    if (planted && at_ < planted->until()) {
        return refused("it was planted with a state as of " +
                       std::to_string(planted->until().value));
    }
    if (first_ == LogOffset(0)) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> snapshots,
                            whole_snapshots(files_, path("state")));
    const bool has_state = std::any_of(snapshots.begin(), snapshots.end(), [this](LogOffset known) {
        return known >= first_ && known <= at_;
    });
    return has_state ? ok()
                     : Status(refused("the log before " + std::to_string(first_.value) +
                                      " is deleted, and every snapshot of the state is newer"));
}

Status Cut::copy() {
    GANTRY_TRY(make_directory(files_, path("cut")));
    const fs::path target = unused(files_, path("cut") / std::to_string(at_.value));
    fs::path unfinished = target;
    unfinished += ".new";
    GANTRY_ASSIGN_OR_RETURN(const auto file, files_.open(unfinished, FileSystem::Open::kCreate));
    GANTRY_TRY(file->truncate(0));
    std::vector<std::byte> buffer(kChunkBytes);
    for (LogOffset at = at_; at < data_end_;) {
        const auto wanted = std::min<std::uint64_t>(bytes_between(at, data_end_), kChunkBytes);
        const Result<std::size_t> got = read_log(segments_, at, MutableBytes(buffer).first(wanted));
        if (!got && got.error().code != Errc::kNotFound) {
            return got.error();
        }
        // A missing segment stays a hole of the file, so that positions in it keep their meaning.
        if (got) {
            GANTRY_TRY(file->write_at(bytes_between(at_, at), Bytes(buffer).first(*got)));
        }
        at += static_cast<std::int64_t>(got ? *got : wanted);
    }
    GANTRY_TRY(file->sync_data());
    GANTRY_TRY(files_.rename(unfinished, target));
    GANTRY_TRY(files_.sync_directory(path("cut")));
    cut_.bytes = bytes_between(at_, data_end_);
    cut_.kept = target;
    return ok();
}

/// Whether the directory of the consume queues knows of what lies behind the cut. Its units would
/// go at the next start, but queues of topics whose deletion is cut are not in it.
Result<bool> Cut::has_newer_index() const {
    const auto file = read_file(files_, path("consumequeue") / "directory", kDirectoryBytesMax);
    if (!file) {
        return file.error().code == Errc::kNotFound ? Result<bool>(false)
                                                    : Result<bool>(file.error());
    }
    const Result<Directory> directory = parse_directory(as_bytes(*file));
    return directory ? directory->published > at_ : false;
}

/// Everything that knows of more than is left. The log itself is whole until then.
Status Cut::forget_newer() {
    GANTRY_ASSIGN_OR_RETURN(const bool is_index_newer, has_newer_index());
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Checkpoint> checkpoint,
                            load_checkpoint(files_, path("checkpoint")));
    // No clean stop from now on: a start walks the log to see where it ends.
    GANTRY_ASSIGN_OR_RETURN(const auto mark, files_.open(path("abort"), FileSystem::Open::kCreate));
    GANTRY_TRY(files_.sync_directory(options_.directory));
    if (is_index_newer || (checkpoint && checkpoint->at > at_)) {
        GANTRY_TRY(remove_if_there(files_, path("checkpoint")));
    }
    GANTRY_TRY(remove_if_there(files_, path("scrub")));
    GANTRY_TRY(files_.sync_directory(options_.directory));
    GANTRY_FAILPOINT_TRY("replica.cut_marks");
    GANTRY_TRY(remove_newer_snapshots());
    GANTRY_FAILPOINT_TRY("replica.cut_snapshots");
    GANTRY_ASSIGN_OR_RETURN(const LostRanges::Opened lost, LostRanges::open(files_, path("lost")));
    return lost.damage.empty() ? lost.ranges->cut(at_) : ok();
}

Status Cut::remove_newer_snapshots() const {
    if (!files_.exists(path("state"))) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.list(path("state")));
    for (const std::string& name : names) {
        const auto known = parse_segment_name(std::string_view(name).substr(0, name.find('.')));
        if (known && *known > at_) {
            GANTRY_TRY(files_.remove(path("state") / name));
        }
    }
    return files_.sync_directory(path("state"));
}

Status Cut::cut_log() {
    BlockSums sums(files_, path("checksum"));
    GANTRY_TRY(sums.open());
    GANTRY_TRY(sums.cut(at_));
    GANTRY_FAILPOINT_TRY("cut.sums");
    GANTRY_TRY(remove_segments(files_, at_, list_));
    GANTRY_TRY(clear_behind(at_, options_.segment_bytes, list_));
    if (!list_.empty()) {
        GANTRY_TRY(list_.back()->file().sync_data());
    }
    GANTRY_FAILPOINT_TRY("cut.synced");
    return ok();
}

Result<StoreCut> Cut::run() {
    GANTRY_TRY(open());
    GANTRY_TRY(check());
    if (data_end_ > at_) {
        GANTRY_TRY(copy());
        GANTRY_FAILPOINT_TRY("replica.cut_copied");
    }
    GANTRY_TRY(forget_newer());
    GANTRY_FAILPOINT_TRY("replica.cut_lost");
    GANTRY_TRY(cut_log());
    if (cut_.bytes > 0) {
        kLog.warn("the end of the log was cut off",
                  {{"at", at_.value}, {"bytes", cut_.bytes}, {"kept", cut_.kept.string()}});
    }
    return std::move(cut_);
}

/// Files of the log in directories of their own go to a folder there.
Status move_volumes(FileSystem& files, const fs::path& store, const std::string& folder) {
    if (!files.exists(store / "volumes")) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_log_of(files, store));
    for (const SegmentPtr& segment : list) {
        const fs::path directory = segment->path().parent_path();
        if (directory == store / "commitlog") {
            continue;
        }
        GANTRY_TRY(make_directory(files, directory / folder));
        GANTRY_TRY(files.rename(segment->path(), directory / folder / segment->path().filename()));
        GANTRY_TRY(files.sync_directory(directory / folder));
        GANTRY_TRY(files.sync_directory(directory));
    }
    return ok();
}

}  // namespace

Result<StoreCut> cut_store(FileSystem& files, const StoreOptions& options, LogOffset at) {
    GANTRY_ASSIGN_OR_RETURN(const auto lock, files.lock(options.directory / "lock"));
    return Cut(files, options, at).run();
}

Result<StoreCut> put_store_aside(FileSystem& files, const StoreOptions& options) {
    // The id first: what is left is no member's any more. Then what says that the log was durable,
    // and the log before what says how to understand it. At each step the rest opens.
    constexpr std::array kInOrder{"replica",
                                  "checkpoint",
                                  "checksum",
                                  "planted",
                                  "state",
                                  "consumequeue",
                                  "index",
                                  "lost",
                                  "scrub",
                                  "commitlog",
                                  "imported",
                                  "timers",
                                  "retention-clock"};
    const fs::path& store = options.directory;
    GANTRY_ASSIGN_OR_RETURN(const auto lock, files.lock(store / "lock"));
    GANTRY_TRY(make_directory(files, store / "cut"));
    const fs::path target = unused(files, store / "cut" / "all");
    GANTRY_TRY(make_directory(files, target));
    StoreCut cut;
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list,
                            files.exists(store / "commitlog") || files.exists(store / "volumes")
                                ? list_log_of(files, store)
                                : Result<SegmentList>(SegmentList()));
    for (const SegmentPtr& segment : list) {
        cut.bytes += segment->bytes();
    }
    for (const char* const name : kInOrder) {
        if (std::string_view(name) == "commitlog") {
            GANTRY_TRY(move_volumes(files, store, "cut-" + target.filename().string()));
        }
        if (!files.exists(store / name)) {
            continue;
        }
        GANTRY_TRY(files.rename(store / name, target / name));
        GANTRY_TRY(files.sync_directory(target));
        GANTRY_TRY(files.sync_directory(store));
        GANTRY_FAILPOINT_TRY("replica.aside");
    }
    cut.kept = target;
    kLog.warn("the store was put aside", {{"kept", target.string()}, {"bytes", cut.bytes}});
    return cut;
}

}  // namespace gantry::storage
