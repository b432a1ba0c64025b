// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/seed.h"

#include "common/failpoint/failpoint.h"
#include "storage/check/closed_store.h"
#include "storage/import/import_mark.h"
#include "storage/log/log_reader.h"
#include "storage/log/log_volumes.h"
#include "storage/replica/planted_mark.h"
#include "storage/replica/replica_log.h"
#include "storage/state_snapshot.h"
#include "storage/store_parts.h"

#include <algorithm>
#include <string>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

Status check_segments(const Store::Parts& parts, LogOffset first) {
    const auto list = parts.log->segments().snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->base() >= first && segment->bytes() != parts.options.segment_bytes) {
            return Error{Errc::kRefused,
                         segment->path().string() + " has " + std::to_string(segment->bytes()) +
                             " B, store.segment_bytes is " +
                             std::to_string(parts.options.segment_bytes) +
                             ": segments of different sizes cannot be followed"};
        }
    }
    return ok();
}

/// Where each queue stands for a log that begins at `first`.
void add_queues(const Store::Parts& parts, wire::StoreSeed& seed) {
    const LogOffset first(seed.first());
    parts.queues->for_each([&](std::string_view topic, std::int32_t id, QueueIndex& index) {
        const QueueOffset begin = std::max(index.min(), index.lower_bound(first));
        const std::optional<QueueUnit> unit = index.unit_at(begin);
        wire::StoreSeed::Queue& queue = *seed.add_queues();
        queue.set_topic(std::string(topic));
        queue.set_queueid(id);
        queue.set_begin(begin.value);
        queue.set_from(unit ? unit->at.value : seed.state().logoffset());
    });
}

/// Whether a log has a byte that is not zero.
Result<bool> has_log(FileSystem& files, const fs::path& store) {
    if (!files.exists(store / "commitlog") && !files.exists(store / "volumes")) {
        return false;
    }
    GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_log_of(files, store));
    if (list.empty()) {
        return false;
    }
    SegmentSet segments;
    segments.assign(list);
    LogReader reader(segments);
    const LogOffset begin = list.front()->base();
    GANTRY_ASSIGN_OR_RETURN(const LogOffset end, reader.end_of_data(begin, list.back()->end()));
    return end > begin;
}

/// What an empty store has on the disk all the same.
Status clear(FileSystem& files, const fs::path& store) {
    for (const char* const name : {"planted", "checkpoint", "lost", "scrub", "imported"}) {
        GANTRY_TRY(remove_if_there(files, store / name));
    }
    GANTRY_TRY(files.sync_directory(store));
    if (files.exists(store / "commitlog") || files.exists(store / "volumes")) {
        GANTRY_ASSIGN_OR_RETURN(const SegmentList list, list_log_of(files, store));
        for (const SegmentPtr& segment : list) {
            GANTRY_TRY(files.remove(segment->path()));
            GANTRY_TRY(files.sync_directory(segment->path().parent_path()));
        }
    }
    for (const char* const name : {"checksum", "consumequeue", "index", "state"}) {
        GANTRY_TRY(remove_files_of(files, store / name));
    }
    return ok();
}

}  // namespace

bool needs_seed(const Store::Parts& parts) {
    return parts.log->first() > LogOffset(0) || parts.files.exists(parts.path("imported"));
}

Result<wire::StoreSeed> make_seed(Store& store) {
    return store.replica().seed();
}

Result<wire::StoreSeed> make_seed(Store::Parts& parts) {
    wire::StoreSeed seed;
    seed.set_first(parts.log->first().value);
    seed.set_segmentbytes(static_cast<std::int64_t>(parts.options.segment_bytes));
    GANTRY_TRY(check_segments(parts, LogOffset(seed.first())));
    *seed.mutable_state() = parts.state->snapshot([&] { return parts.log->appended(); });
    GANTRY_TRY(parts.checkpointer->wait_safe(durable_end(seed.state())));
    add_queues(parts, seed);
    GANTRY_ASSIGN_OR_RETURN(const auto imported,
                            ImportMark::load(parts.files, parts.options.directory));
    if (imported && imported->until() > LogOffset(seed.first())) {
        seed.set_imported(imported->log().SerializeAsString());
    }
    return seed;
}

Status plant_seed(FileSystem& files, const StoreOptions& options, const wire::StoreSeed& seed) {
    if (seed.segmentbytes() != static_cast<std::int64_t>(options.segment_bytes)) {
        return Error{Errc::kRefused,
                     "store.segment_bytes " + std::to_string(options.segment_bytes) +
                         " is not that of the master, " + std::to_string(seed.segmentbytes())};
    }
    const fs::path& store = options.directory;
    GANTRY_TRY(make_directory(files, store));
    GANTRY_ASSIGN_OR_RETURN(const auto lock, files.lock(store / "lock"));
    GANTRY_ASSIGN_OR_RETURN(const bool is_full, has_log(files, store));
    if (is_full) {
        return Error{Errc::kConflict, store.string() + " has a log: it cannot be planted"};
    }
    GANTRY_TRY(clear(files, store));
    GANTRY_FAILPOINT_TRY("replica.seed_cleared");
    if (!seed.imported().empty()) {
        wire::ImportedLog log;
        if (!log.ParseFromString(seed.imported())) {
            return Error{Errc::kCorrupt, "what the seed says of an import does not parse"};
        }
        GANTRY_TRY(ImportMark(std::move(log)).save(files, store));
    }
    GANTRY_TRY(save_snapshot(files, store / "state", seed.state()));
    GANTRY_FAILPOINT_TRY("replica.seed_state");
    return PlantedMark(seed).save(files, store);
}

}  // namespace gantry::storage
