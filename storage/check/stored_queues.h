// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/result.h"
#include "storage/index/queue_directory.h"
#include "storage/index/queue_index.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gantry::storage {

/// The consume queues of a store as their last flush left them, to look at: nothing is changed.
///
/// Threads   one. Lifetime: on its own once open.
class StoredQueues {
public:
    /// A queue, and how many of its units a walk over the log has met.
    struct Queue {
        const std::string* topic = nullptr;
        const Directory::Queue* listed = nullptr;
        std::uint64_t met = 0;
    };

    /// kNotFound: no directory file. kCorrupt: it or an extent file is damaged, which is named.
    static Result<StoredQueues> open(FileSystem& files, const std::filesystem::path& directory);

    /// No listed unit ends above it.
    LogOffset published() const noexcept { return directory_->published; }

    /// Null when the directory does not list it.
    Queue* find(std::string_view topic, std::int32_t queue_id);
    /// Of a queue offset in [min, max); nothing outside, and where the extent is not readable.
    std::optional<QueueUnit> unit(const Queue& queue, std::int64_t at) const;
    /// "topic orders queue 3 offset 17" of every unit whose record overlaps [from, to), at most
    /// `count_max`.
    std::vector<std::string> names_of(LogOffset from, LogOffset to, std::size_t count_max) const;

    const std::vector<Queue>& all() const noexcept { return queues_; }

private:
    struct ExtentFile {
        std::unique_ptr<File> file;
        Mapping mapping;
    };

    std::unique_ptr<Directory> directory_;
    std::vector<Queue> queues_;
    std::unordered_map<std::string, std::map<std::int32_t, std::size_t>> by_name_;
    std::map<std::uint32_t, ExtentFile> files_;
};

/// "topic orders queue 3 offset 17".
std::string message_name(std::string_view topic, std::int32_t queue_id, std::int64_t at);

}  // namespace gantry::storage
