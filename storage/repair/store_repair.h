// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/check/store_check.h"
#include "storage/log/segment.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::storage {

/// What may be done to a store. Nothing of the log is touched unless a field says so.
struct RepairOptions {
    std::filesystem::path directory{};
    bool rebuilds_all = false;          ///< also indexes that look good
    std::optional<LogOffset> cut_at{};  ///< the log ends there afterwards
    bool cuts_at_first_damage = false;  ///< the same, where the first damage begins
    bool quarantines = false;           ///< damage that is not cut is kept from readers
    std::filesystem::path backup{};     ///< of the bytes cut; empty: cut-<offset>.log in the store
    bool has_backup = true;
    std::function<void(std::string_view stage, std::uint64_t done, std::uint64_t total)>
        on_progress{};
};

/// Messages of one queue that a cut removes.
struct CutQueue {
    std::uint64_t messages = 0;
    std::int64_t first = 0;
    std::int64_t last = 0;
};

/// What a repair would do, found out by a check; nothing has been changed.
struct RepairPlan {
    CheckReport before;
    std::vector<std::string> steps;  ///< for people, in order; empty: nothing to do
    bool rebuilds_queues = false;
    bool rebuilds_keys = false;
    bool removes_checkpoint = false;
    std::vector<std::string> bad_snapshots;  ///< file names
    std::uint64_t blocks_unsummed = 0;       ///< whose checksum is missing
    std::optional<LogOffset> cut;
    LogOffset data_end;  ///< of what a cut removes
    std::map<std::pair<std::string, std::int32_t>, CutQueue> lost;
    std::uint64_t lost_messages = 0;       ///< whole ones behind the cut
    bool is_copy = false;                  ///< of a replicated log
    std::vector<std::string> lost_damage;  ///< places behind the cut that hold no whole record
    std::filesystem::path backup;          ///< empty: none

    /// Damage that is kept from readers, from record to record, with the messages it costs.
    struct Piece {
        LogOffset from;
        LogOffset to;
        std::string what{};
        std::vector<std::string> messages{};
    };

    std::vector<Piece> quarantined;

    /// Damage of the log that stays: a repair that leaves it is refused.
    std::vector<Finding> remaining;

    /// Of what remains, something that no option mends; null: there is nothing.
    const Finding* beyond_repair() const noexcept;
};

/// What a repair did, and how the store is now.
struct RepairReport {
    CheckReport after;
    std::uint64_t bytes_backed_up = 0;
    std::uint64_t offsets_moved = 0;  ///< committed offsets behind the end of a cut queue
    std::uint64_t blocks_summed = 0;  ///< that had no checksum
};

/// Checks the store and decides what to do. Changes nothing.
///
/// Errors   of check_store. kRefused: cut_at is no place where a record begins, or outside the log;
///          the first damage can be cut or quarantined, not both; a copy of a replicated log is
///          not cut where may_cut (store_cut.h) says so.
Result<RepairPlan> plan_repair(FileSystem& files, const RepairOptions& options);

/// Does what the plan says, then checks again. A stop in the middle leaves a store that the next
/// repair, or the next start, goes on with.
///
///   backup of the cut bytes -> list of lost ranges -> checkpoint, snapshots -> sums -> segments ->
///   indexes -> open and close: recovery rebuilds -> missing checksums -> check
///
/// A copy of a replicated log gets no record of its own: its committed offsets stay as they are.
/// When it was killed it still looks so afterwards, and one that is cut loses its storage id
/// (storage_id.h): the group has to know it as a copy that may lack what it acknowledged.
///
/// Threads   one; blocks on the disk.
/// Errors    kCorrupt: damage remains that nobody decided about. kConflict, kDiskFull, kIo.
Result<RepairReport> apply_repair(FileSystem& files,
                                  Clock& clock,
                                  const RepairOptions& options,
                                  const RepairPlan& plan);

/// A part of the log whose blocks have no checksum, or one of fewer bytes than there are.
struct UnsummedPart {
    SegmentPtr segment;
    LogOffset from;
    LogOffset to;
    std::uint64_t blocks = 0;
};

/// The parts below `end` that lack checksums. kIo.
Result<std::vector<UnsummedPart>> unsummed_parts(FileSystem& files,
                                                 const std::filesystem::path& store,
                                                 LogOffset end);

}  // namespace gantry::storage
