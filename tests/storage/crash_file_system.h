// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/file_system.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/random.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace gantry::storage {

/// What a power cut at one moment leaves for certain, and what it may leave.
struct PowerCut {
    /// Content of one file. Behind `kept_bytes` it was cut off after its last sync.
    struct Data {
        std::shared_ptr<const std::string> synced;
        std::shared_ptr<const std::string> current;
        std::uint64_t kept_bytes = 0;
    };

    /// A change of a directory that no sync of that directory has covered.
    struct Change {
        std::string removed{};  ///< name that goes, or empty
        std::string made{};     ///< name that comes, or empty
        const void* node = nullptr;
    };

    /// Names are paths below the root.
    std::map<std::string, const void*> durable_names;
    std::vector<Change> changes;
    std::map<const void*, Data> data;
    LogOffset durable;  ///< what the store called flushed at that moment
};

/// How much of what was not synced is on the disk after the power cut.
enum class Survives { kNothing, kEverything, kRandom };

/// Writes a state that `cut` may leave into the empty directory `root`: everything that was synced,
/// plus any subset of the pages (4 KiB, sometimes 512 B) and of the names changed since.
void write_image(const PowerCut& cut,
                 Survives survives,
                 Random& random,
                 const std::filesystem::path& root);

/// The real file system, which remembers what was synced: content of files by their last
/// sync_data, names by the last sync_directory. What is there at the start counts as durable.
///
/// Threads   any; one mutex, so that no sync or rename is under way while a power cut is taken.
///           Stores into mappings go on meanwhile: they are not synced, so any subset may be seen.
class CrashFileSystem final : public FileSystem {
public:
    /// Tracks what is below `root`; a lock file is not.
    explicit CrashFileSystem(std::filesystem::path root);

    /// Told at each power cut: everything below is durable by the store's own word.
    void set_durable(std::function<LogOffset()> durable);

    PowerCut cut();
    /// Takes one right before the nth change of a path that contains `path_part` is made.
    void cut_at(std::uint64_t nth, std::string path_part = {});
    /// What that has taken; once.
    std::optional<PowerCut> taken();
    /// From now on syncs of files whose path contains `path_part` succeed and do nothing.
    void lie_about(std::string path_part);

    Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Open how) override;
    Result<std::vector<std::string>> list(const std::filesystem::path& directory) override;
    bool exists(const std::filesystem::path& path) override;
    Status create_directories(const std::filesystem::path& directory) override;
    Status rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
    Status remove(const std::filesystem::path& path) override;
    Status sync_directory(const std::filesystem::path& directory) override;
    Result<std::uint64_t> free_bytes(const std::filesystem::path& path) override;
    Result<std::unique_ptr<File>> lock(const std::filesystem::path& path) override;

private:
    class TrackedFile;

    /// A file whatever its name; a directory has no file.
    struct Node {
        std::unique_ptr<File> file;
        std::shared_ptr<const std::string> synced = std::make_shared<const std::string>();
        std::uint64_t kept_bytes = 0;
    };

    using NodePtr = std::shared_ptr<Node>;

    struct Change {
        std::string removed;
        std::string made;
        NodePtr node;
    };

    std::string name_of(const std::filesystem::path& path) const;
    NodePtr add(const std::filesystem::path& path, bool is_directory) GANTRY_REQUIRES(mutex_);
    void before_change(const std::filesystem::path& path) GANTRY_REQUIRES(mutex_);
    bool is_lie(const std::filesystem::path& path) const GANTRY_REQUIRES(mutex_);
    PowerCut cut_locked() GANTRY_REQUIRES(mutex_);

    const std::filesystem::path root_;
    const std::unique_ptr<FileSystem> real_ = make_posix_file_system();
    Mutex mutex_;
    std::map<std::string, NodePtr> names_ GANTRY_GUARDED_BY(mutex_);
    std::map<std::string, NodePtr> durable_names_ GANTRY_GUARDED_BY(mutex_);
    std::vector<Change> changes_ GANTRY_GUARDED_BY(mutex_);
    std::function<LogOffset()> durable_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t changes_left_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::string path_part_ GANTRY_GUARDED_BY(mutex_);
    std::string lied_part_ GANTRY_GUARDED_BY(mutex_);
    std::optional<PowerCut> taken_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage
