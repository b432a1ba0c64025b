// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/import.pb.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gantry::storage {

/// What a start and a check have to know of a log whose first part RocketMQ wrote: which of its
/// records are messages of no queue, and where queues begin that have none.
///
///   first             until                 appended
///     o------------------o----------------------o
///     | RocketMQ's       | Gantry's
///
/// File      <store>/imported: magic, version, ImportedLog, XXH3-64. Written once, by the import.
/// Threads   any; immutable.
/// Source    docs/formats/commit-log.md.
class ImportMark {
public:
    explicit ImportMark(wire::ImportedLog log);

    /// Nothing when the store was not imported. kCorrupt: the file is damaged; without it a rebuild
    /// from the log would bring back messages of deleted topics.
    static Result<std::optional<ImportMark>> load(FileSystem& files,
                                                  const std::filesystem::path& store);
    /// Writes it durably.
    Status save(FileSystem& files, const std::filesystem::path& store) const;

    LogOffset until() const noexcept { return LogOffset(log_.until()); }

    /// Whether the record at `at` is one of RocketMQ's.
    bool covers(LogOffset at) const noexcept { return at.value < log_.until(); }

    /// Whether the record, which it covers, is in no consume queue: of a deleted topic, or a
    /// transaction's that RocketMQ keeps from consumers.
    bool is_unlisted(const wire::Record& record, LogOffset at) const;

    const wire::ImportedLog& log() const noexcept { return log_; }

private:
    wire::ImportedLog log_;
    std::map<std::string, std::map<std::int32_t, std::int64_t>, std::less<>> lives_from_;
};

/// Whether RocketMQ puts records with this sysFlag into consume queues.
bool is_kept_from_queues(std::int32_t sys_flag) noexcept;

}  // namespace gantry::storage
