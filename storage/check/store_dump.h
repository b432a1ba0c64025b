// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::storage {

/// Which records of a store to walk over. What is left at its default selects everything.
struct DumpOptions {
    std::filesystem::path directory{};
    bool is_live = false;  ///< a broker may have it open: only what is durable is read
    LogOffset from{};      ///< records that start at or behind it
    LogOffset to = LogOffset(std::numeric_limits<std::int64_t>::max());  ///< and below it
    std::string topic{};
    std::optional<std::int32_t> queue_id{};
    std::int64_t queue_from = 0;  ///< queue offsets [queue_from, queue_to)
    std::int64_t queue_to = std::numeric_limits<std::int64_t>::max();
    std::string key{};                                  ///< a word of KEYS, or a UNIQ_KEY
    WallMs since = 0;                                   ///< stored at or after
    WallMs until = std::numeric_limits<WallMs>::max();  ///< and at or before
    std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();  ///< records, then it ends
};

/// One thing met in the log.
struct DumpItem {
    /// What it is.
    enum class Kind : std::uint8_t {
        kRecord,  ///< whole
        kDamage,  ///< bytes that are no record, or a record whose body is damaged
        kTail,    ///< bytes behind the last record that were never known durable
    };

    Kind kind = Kind::kRecord;
    LogOffset at{};
    std::uint64_t bytes = 0;
    std::string file{};
    const wire::Record* record = nullptr;  ///< of a record, and of one with a damaged body
    std::string why{};
};

/// What a walk has met.
struct DumpSummary {
    std::uint64_t records = 0;  ///< selected ones
    std::uint64_t damages = 0;
    LogOffset end{};  ///< the walk's

    bool is_good() const noexcept { return damages == 0; }
};

/// Whether `key` is a word of the record's KEYS or its UNIQ_KEY.
bool has_key(std::string_view properties, std::string_view key);

/// Calls `each` for every selected record of the log of a store, in log order, and for all damage
/// between them. Never stops at damage. Changes nothing. An error of `each` ends the walk.
///
/// Live     below the durable end bytes never change, so that reading them beside a broker is safe;
///          what is behind is left out. Segments that retention deletes meanwhile are still read.
/// Threads  one; blocks on the disk.
/// Errors   kConflict: a broker has it open and is_live is not set. kNotFound: no commit log. kIo.
Result<DumpSummary> dump_store(FileSystem& files,
                               const DumpOptions& options,
                               const std::function<Status(const DumpItem&)>& each);

}  // namespace gantry::storage
