// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/file_system.h"
#include "common/mutex.h"
#include "common/result.h"

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

namespace gantry::client {

/// How far a broadcast consumer is in each queue, in a file of its machine.
///
///   gantry-offsets 1 GROUP
///   OFFSET QUEUE BROKER TOPIC     one line a queue
///
/// The file is replaced as a whole and synced, by a thread of its own: a crash leaves the offsets
/// of before or of after. Beside it lies a lock, FILE.lock, for as long as this object lives.
///
/// Threads   any. Only open and save block on the disk.
/// Errors    open: kConflict, another consumer has the file; kCorrupt names the line; kRefused, the
///           file is another group's; kIo. What cannot be written is logged and tried again after
///           a second or with the next offsets.
class LocalOffsets {
public:
    /// Reads the file, if there is one, and takes its lock.
    static Result<std::shared_ptr<LocalOffsets>> open(const std::filesystem::path& path,
                                                      const std::string& group);
    /// Writes what is not written yet.
    ~LocalOffsets();
    LocalOffsets(const LocalOffsets&) = delete;
    LocalOffsets& operator=(const LocalOffsets&) = delete;

    /// Nothing when there is none for the queue.
    std::optional<std::int64_t> find(const QueueId& queue) const;
    /// Notes these; they are written soon.
    void put(const std::map<QueueId, std::int64_t>& offsets);
    /// Writes what is not written yet, now.
    Status save();

private:
    LocalOffsets(std::filesystem::path path, std::string group);

    Status load();
    void write_changes();

    const std::filesystem::path path_;
    const std::string group_;
    const std::unique_ptr<FileSystem> files_;
    std::unique_ptr<File> lock_;
    std::thread writer_;

    Mutex writing_;  ///< one writes at a time; before mutex_
    mutable Mutex mutex_;
    std::condition_variable changed_;
    std::map<QueueId, std::int64_t> offsets_ GANTRY_GUARDED_BY(mutex_);
    bool is_dirty_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_closing_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client
