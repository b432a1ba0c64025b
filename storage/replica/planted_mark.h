// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "protocol/wire/replication.pb.h"

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace gantry::storage {

/// What a follower that was planted has to know of the first part of its log: which records are of
/// topics that had been deleted, and where queues stand whose messages are.
///
///   first             until                 appended
///     o------------------o----------------------o
///     | units only       | units and state
///
/// File      <store>/planted: "GPLT", version 1, StoreSeed without its state, XXH3-64. Written
/// once,
///           by plant_seed, as its last step.
/// Threads   any; immutable.
/// Source    docs/formats/replica.md.
class PlantedMark {
public:
    /// Takes a seed; its state but for the log offset is left out.
    explicit PlantedMark(wire::StoreSeed seed);

    /// Nothing when the store was not planted. kCorrupt: the file is damaged; without it messages
    /// of deleted topics would come back.
    static Result<std::optional<PlantedMark>> load(FileSystem& files,
                                                   const std::filesystem::path& store);
    /// Writes it durably.
    Status save(FileSystem& files, const std::filesystem::path& store) const;

    LogOffset first() const noexcept { return LogOffset(seed_.first()); }

    LogOffset until() const noexcept { return LogOffset(seed_.state().logoffset()); }

    /// Whether the record is in no consume queue: of a topic that was deleted later.
    bool is_unlisted(const wire::Record& record, LogOffset at) const;

    const wire::StoreSeed& seed() const noexcept { return seed_; }

private:
    wire::StoreSeed seed_;
    /// Where the life of a queue's topic begins that there was at the time.
    std::map<std::string, std::map<std::int32_t, std::int64_t>, std::less<>> lives_from_;
};

}  // namespace gantry::storage
