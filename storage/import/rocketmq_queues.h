// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::storage {

/// What RocketMQ's own consume queues say: which messages of the log are alive. A topic that was
/// deleted leaves its records in the log and takes its consume queues along.
///
///   consumequeue/<topic>/<queue id>/<20 digits: queue offset of the first unit × 20>
///
/// Threads   one. Blocks on the disk; reads a few units of each queue.
/// Errors    files that are no consume queues are passed over: what is not known is not in here.
class RocketMqQueues {
public:
    /// One queue: [min, max) are its offsets that point into the log.
    struct Queue {
        std::int64_t min = 0;
        std::int64_t max = 0;
        std::optional<LogOffset> first;  ///< of the record at min; nothing when min = max
    };

    /// Looks into `directory`, where the log begins at `log_first`. kIo: the disk fails.
    static Result<RocketMqQueues> load(FileSystem& files,
                                       const std::filesystem::path& directory,
                                       LogOffset log_first);

    /// Whether there are any: else nothing can be said about deleted topics.
    bool is_known() const noexcept { return !topics_.empty(); }

    bool has_topic(std::string_view topic) const { return topics_.find(topic) != topics_.end(); }

    /// Null when there is none.
    const Queue* find(std::string_view topic, std::int32_t queue_id) const;

    const std::map<std::string, std::map<std::int32_t, Queue>, std::less<>>& all() const noexcept {
        return topics_;
    }

private:
    std::map<std::string, std::map<std::int32_t, Queue>, std::less<>> topics_;
};

}  // namespace gantry::storage
