// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace gantry::storage {

/// Something in a store that is not as it should be.
struct Finding {
    /// What it means for the messages.
    enum class Kind : std::uint8_t {
        kDamage,  ///< bytes of the log are wrong or missing: messages are lost
        kIndex,   ///< consume queues or snapshots contradict the log: a rebuild mends them
        kLost,    ///< damage that the store has quarantined: known, stepped over by readers
        kTail,    ///< the log ends in bytes that were never known durable: a start cuts them
    };

    Kind kind = Kind::kDamage;
    std::string file{};
    LogOffset at{};           ///< in the log, where it is about the log
    std::uint64_t bytes = 0;  ///< from `at` on
    std::string what{};
    /// "topic orders queue 3 offset 17", the messages it concerns, as far as that can be told.
    std::vector<std::string> messages{};
};

/// What a check has read and found.
struct CheckReport {
    LogOffset first;
    LogOffset end;                 ///< behind the last whole record
    std::uint64_t bytes_read = 0;  ///< of the log
    std::uint64_t segments = 0;
    std::uint64_t records = 0;
    std::uint64_t blocks_summed = 0;   ///< compared with their checksum
    std::uint64_t units_compared = 0;  ///< of consume queues, with the record they point to
    bool was_stopped_cleanly = false;
    std::uint64_t findings_total = 0;
    std::vector<Finding> findings;  ///< the first CheckOptions::findings_max

    /// Nothing but, at most, what is quarantined and a tail that the next start cuts.
    bool is_good = true;
};

/// What to check, and whom to tell how far it is.
struct CheckOptions {
    std::filesystem::path directory{};
    std::size_t findings_max = 1'000;
    /// Bytes of the log done, and in all; about every 64 MiB.
    std::function<void(std::uint64_t done, std::uint64_t total)> on_progress{};
};

/// Reads a store that no broker has open, from its first record to its last, and compares what is
/// there with every checksum and every index over it: frame, position and body CRC of each record,
/// the sum of each durable block, each unit of the consume queues, the snapshot, the checkpoint.
/// Changes nothing.
///
/// Threads   one; blocks on the disk, reads each log byte twice, the second time from the cache.
/// Errors    kConflict: a broker has it open. kNotFound: no commit log there. kIo: a disk error,
///           with the file.
Result<CheckReport> check_store(FileSystem& files, const CheckOptions& options);

}  // namespace gantry::storage
