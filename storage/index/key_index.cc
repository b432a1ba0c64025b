// SPDX-License-Identifier: Apache-2.0
#include "storage/index/key_index.h"

#include "common/check.h"
#include "common/checksum.h"
#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "common/mutex.h"
#include "storage/index/key_index_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kNameDigits = 20;

bool is_index_name(const std::string& name) {
    return name.size() == kNameDigits && name.find_first_not_of("0123456789") == std::string::npos;
}

std::string name_of(std::uint64_t number) {
    std::string digits = std::to_string(number);
    return std::string(kNameDigits - digits.size(), '0') + digits;
}

Status remove_all(FileSystem& files, const std::filesystem::path& directory) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        if (is_index_name(name)) {
            GANTRY_TRY(files.remove(directory / name));
        }
    }
    return files.sync_directory(directory);
}

bool has_flushed(const std::vector<std::shared_ptr<KeyIndexFile>>& files) {
    return std::any_of(
        files.begin(), files.end(), [](const auto& file) { return file->was_flushed(); });
}

}  // namespace

std::uint64_t key_hash(std::string_view topic, std::string_view key) {
    std::array<char, 512> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled below
    const std::size_t size = topic.size() + 1 + key.size();
    if (size > room.size()) {
        std::string joined(topic);
        joined += '#';
        joined += key;
        return xxh3(as_bytes(joined));
    }
    std::memcpy(room.data(), topic.data(), topic.size());
    room[topic.size()] = '#';
    std::memcpy(room.data() + topic.size() + 1, key.data(), key.size());
    return xxh3(as_bytes(std::string_view(room.data(), size)));
}

struct KeyIndex::Parts {
    Parts(FileSystem& f, const Options& o) : files(f), options(o) {}

    using FilePtr = std::shared_ptr<KeyIndexFile>;

    /// Makes the next file; doubles its size until the limit.
    Result<FilePtr> make_file(std::uint64_t number) const {
        std::uint32_t entries = options.first_file_entries;
        for (std::uint64_t i = 0; i < number && entries < options.file_entries_max; ++i) {
            entries =
                entries > options.file_entries_max / 2 ? options.file_entries_max : entries * 2;
        }
        return KeyIndexFile::create(files, options.directory / name_of(number), entries);
    }

    /// Opens the files in order. Why the index must be rebuilt, nothing when it need not be.
    /// `unwritten`: those made after the last flush; nothing in them counts.
    Result<std::string> load(const std::vector<std::string>& names,
                             std::vector<std::string>* unwritten) GANTRY_REQUIRES(mutex) {
        for (const std::string& name : names) {
            if (!is_index_name(name)) {
                continue;
            }
            Result<FilePtr> file = KeyIndexFile::open(files, options.directory / name);
            if (!file) {
                if (file.error().code == Errc::kNotFound && has_flushed(index_files)) {
                    unwritten->push_back(name);
                    continue;
                }
                if (file.error().code != Errc::kCorrupt && file.error().code != Errc::kNotFound) {
                    return file.error();
                }
                return std::string(file.error().detail);
            }
            if (!unwritten->empty() && (*file)->was_flushed()) {
                return "index file " + unwritten->back() + ": no header";
            }
            index_files.push_back(std::move(file).value());
            next_number = std::strtoull(name.c_str(), nullptr, 10) + 1;
        }
        return std::string();
    }

    /// Gives the index a file that is not full: the one prepared by a flush, or a new one.
    Status add_file() GANTRY_REQUIRES(mutex) {
        if (spare == nullptr) {
            GANTRY_ASSIGN_OR_RETURN(spare, make_file(next_number));
            ++next_number;
            has_new_file = true;
        }
        index_files.push_back(std::exchange(spare, nullptr));
        return ok();
    }

    /// Syncs what is due, and the names of new files.
    Status make_durable(const std::vector<std::pair<FilePtr, KeyIndexFile::Flush>>& due,
                        bool syncs_names) {
        GANTRY_FAILPOINT_TRY("keys.before_sync");
        for (const auto& [file, flush] : due) {
            GANTRY_TRY(file->make_durable(flush));
            const MutexLock lock(mutex);
            file->end_flush(flush);
        }
        GANTRY_TRY(syncs_names ? files.sync_directory(options.directory) : ok());
        GANTRY_FAILPOINT_TRY("keys.after_sync");
        return ok();
    }

    FileSystem& files;
    const Options options;
    Mutex flush_mutex;  ///< one flush, truncation or removal at a time; before mutex
    mutable Mutex mutex;
    std::vector<FilePtr> index_files GANTRY_GUARDED_BY(mutex);  ///< oldest first, the last grows
    FilePtr spare GANTRY_GUARDED_BY(mutex);                     ///< empty, for when that is full
    std::uint64_t next_number GANTRY_GUARDED_BY(mutex) = 0;
    bool has_new_file GANTRY_GUARDED_BY(mutex) = false;  ///< its name is not durable yet
    std::optional<Error> sync_failure GANTRY_GUARDED_BY(mutex);
};

KeyIndex::KeyIndex(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

KeyIndex::~KeyIndex() = default;

Result<KeyIndex::Opened> KeyIndex::open(FileSystem& files, const Options& options) {
    GANTRY_TRY(files.create_directories(options.directory));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(options.directory));
    Opened opened;
    auto parts = std::make_unique<Parts>(files, options);
    {
        const MutexLock lock(parts->mutex);
        std::vector<std::string> unwritten;
        GANTRY_ASSIGN_OR_RETURN(opened.rebuild_reason, parts->load(names, &unwritten));
        opened.needs_rebuild = !opened.rebuild_reason.empty() || !has_flushed(parts->index_files);
        if (opened.needs_rebuild) {
            parts->index_files.clear();
            parts->next_number = 0;
            GANTRY_TRY(remove_all(files, options.directory));
            unwritten.clear();
        }
        for (const std::string& name : unwritten) {
            GANTRY_TRY(files.remove(options.directory / name));
        }
        if (parts->index_files.size() > 1 && parts->index_files.back()->count() == 0) {
            parts->spare = std::move(parts->index_files.back());
            parts->index_files.pop_back();
        }
    }
    if (!opened.rebuild_reason.empty()) {
        kLog.warn("key_index_needs_rebuild", {{"reason", opened.rebuild_reason}});
    }
    opened.index.reset(new KeyIndex(std::move(parts)));
    return opened;
}

Status KeyIndex::put(std::uint64_t hash, LogOffset at, WallMs store_ms) {
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    if (p.index_files.empty() || p.index_files.back()->is_full()) {
        GANTRY_TRY(p.add_file());
    }
    p.index_files.back()->put(hash, at, store_ms);
    return ok();
}

std::vector<LogOffset> KeyIndex::find(const Query& query) const {
    // Heads are taken under the lock, chains are walked without it: puts never wait for a search.
    std::vector<std::pair<Parts::FilePtr, std::uint32_t>> heads;
    {
        Parts& p = *parts_;
        const MutexLock lock(p.mutex);
        for (auto file = p.index_files.rbegin(); file != p.index_files.rend(); ++file) {
            if (const std::uint32_t head = (*file)->head_of(query); head != 0) {
                heads.emplace_back(*file, head);
            }
        }
    }
    std::vector<LogOffset> found;
    for (const auto& [file, head] : heads) {
        file->walk(head, query, &found);
    }
    return found;
}

Status KeyIndex::flush() {
    Parts& p = *parts_;
    const MutexLock flushing(p.flush_mutex);
    std::vector<std::pair<Parts::FilePtr, KeyIndexFile::Flush>> due;
    bool has_new_file = false;
    std::uint64_t spare_number = 0;
    bool needs_spare = false;
    {
        const MutexLock lock(p.mutex);
        if (p.sync_failure) {
            return *p.sync_failure;
        }
        if (p.index_files.empty()) {
            // An index without any key is an index too, and needs no rebuild.
            GANTRY_TRY(p.add_file());
        }
        for (const Parts::FilePtr& file : p.index_files) {
            if (const KeyIndexFile::Flush flush = file->begin_flush(); flush.is_due) {
                due.emplace_back(file, flush);
            }
        }
        has_new_file = std::exchange(p.has_new_file, false);
        needs_spare = p.spare == nullptr && !p.index_files.empty() &&
                      p.index_files.back()->count() >= p.index_files.back()->capacity() / 4;
        spare_number = p.next_number;
        p.next_number += needs_spare ? 1 : 0;
    }
    if (const Status synced = p.make_durable(due, has_new_file); !synced) {
        const MutexLock lock(p.mutex);
        p.sync_failure = synced.error();
        return synced;
    }
    if (needs_spare) {
        // Made here so that no put waits for it. Without it, put makes one, or says why not.
        if (Result<Parts::FilePtr> made = p.make_file(spare_number)) {
            const MutexLock lock(p.mutex);
            if (p.next_number == spare_number + 1) {
                p.spare = std::move(made).value();
                p.has_new_file = true;
            } else {
                // A put was quicker; files must be filled in the order of their numbers.
                static_cast<void>(p.files.remove((*made)->path()));
            }
        }
    }
    return ok();
}

Status KeyIndex::truncate_after(LogOffset end) {
    Parts& p = *parts_;
    const MutexLock flushing(p.flush_mutex);
    const MutexLock lock(p.mutex);
    for (const Parts::FilePtr& file : p.index_files) {
        file->truncate_after(end);
    }
    // Files that are empty now are made anew when needed; the first one stays.
    bool has_removed = false;
    while (p.index_files.size() > 1 && p.index_files.back()->count() == 0) {
        const Parts::FilePtr empty = std::move(p.index_files.back());
        p.index_files.pop_back();
        GANTRY_TRY(p.files.remove(empty->path()));
        has_removed = true;
    }
    // One that came back later would bring entries that the replay has put elsewhere.
    return has_removed ? p.files.sync_directory(p.options.directory) : ok();
}

Status KeyIndex::remove_before(LogOffset first) {
    Parts& p = *parts_;
    const MutexLock flushing(p.flush_mutex);
    std::vector<Parts::FilePtr> old;
    {
        const MutexLock lock(p.mutex);
        auto keep = p.index_files.begin();
        while (keep != p.index_files.end() && keep + 1 != p.index_files.end() &&
               (*keep)->last() < first) {
            ++keep;
        }
        old.assign(p.index_files.begin(), keep);
        p.index_files.erase(p.index_files.begin(), keep);
    }
    for (const Parts::FilePtr& file : old) {
        GANTRY_TRY(p.files.remove(file->path()));
    }
    return old.empty() ? ok() : p.files.sync_directory(p.options.directory);
}

std::uint64_t KeyIndex::entry_count() const {
    std::uint64_t count = 0;
    const MutexLock lock(parts_->mutex);
    for (const Parts::FilePtr& file : parts_->index_files) {
        count += file->count();
    }
    return count;
}

std::uint64_t KeyIndex::file_bytes() const {
    std::uint64_t bytes = 0;
    const MutexLock lock(parts_->mutex);
    for (const Parts::FilePtr& file : parts_->index_files) {
        bytes += file->bytes();
    }
    return bytes + (parts_->spare != nullptr ? parts_->spare->bytes() : 0);
}

}  // namespace gantry::storage
