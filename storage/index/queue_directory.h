// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/index/extent_files.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// A queue as the directory lists it.
struct QueueEntry {
    std::int32_t queue_id = 0;
    std::uint64_t uid = 0;
    std::int64_t min = 0;
    std::int64_t max = 0;
};

/// Builds the directory file: topics, each followed by its queues. docs/formats/consume-queue.md.
class DirectoryWriter {
public:
    DirectoryWriter();
    /// Starts a topic; its `queue_count` queues must follow.
    void begin_topic(std::string_view name, std::uint32_t queue_count);
    void add_queue(const QueueEntry& queue, std::span<const ExtentEntry> extents);
    /// The finished file. `published` bounds the log offsets of all units listed.
    std::string finish(std::uint64_t next_uid, LogOffset published) &&;

private:
    template <class T>
    void append(T value);

    std::string bytes_;
    std::uint32_t topic_count_ = 0;
};

/// A directory file, read.
struct Directory {
    /// A queue and where its units lie.
    struct Queue {
        QueueEntry entry;
        std::vector<ExtentEntry> extents;  ///< adjacent, cover [min, max)
    };

    /// A topic's queues, by queue id as written.
    struct Topic {
        std::string name;
        std::vector<Queue> queues;
    };

    std::uint64_t next_uid = 1;
    LogOffset published;
    std::vector<Topic> topics;
};

/// kCorrupt: checksum, version, or an entry that contradicts itself; detail says which.
Result<Directory> parse_directory(Bytes file);

}  // namespace gantry::storage
