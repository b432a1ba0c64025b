// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/mutex.h"
#include "common/unique_function.h"

#include <condition_variable>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

namespace gantry::nameserver {

/// The file behind the KV store, written by a thread of its own so that no event loop waits for a
/// sync.
///
/// Threads   write: one, and only after `done` of the write before. `done` runs in the file's own
///           thread.
/// Lifetime  `files` outlives it. The destructor waits for the write under way.
class KvFile {
public:
    using Done = UniqueFunction<void(Status)>;

    KvFile(FileSystem& files, std::filesystem::path path);
    ~KvFile();
    KvFile(const KvFile&) = delete;
    KvFile& operator=(const KvFile&) = delete;

    /// The content, empty when there is no file. kRefused above `bytes_max`.
    Result<std::string> read(std::uint64_t bytes_max);

    const std::filesystem::path& path() const noexcept { return path_; }

    /// Replaces the content durably, then calls `done`.
    void write(std::string content, Done done);

private:
    struct Job {
        std::string content;
        Done done;
    };

    void run();

    FileSystem& files_;
    const std::filesystem::path path_;
    Mutex mutex_;
    std::condition_variable wake_;
    std::optional<Job> job_ GANTRY_GUARDED_BY(mutex_);
    bool stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace gantry::nameserver
