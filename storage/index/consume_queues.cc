// SPDX-License-Identifier: Apache-2.0
#include "storage/index/consume_queues.h"

#include "common/log.h"
#include "common/mutex.h"
#include "storage/by_name.h"
#include "storage/index/extent_files.h"
#include "storage/index/queue_directory.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kStripes = 64;
constexpr std::string_view kDirectoryName = "directory";
constexpr std::uint64_t kDirectoryBytesMax = std::uint64_t{4} << 30U;

/// Queues of one topic, by id.
using TopicQueues = std::vector<std::pair<std::int32_t, QueueIndex*>>;

TopicQueues::const_iterator lower_bound_of(const TopicQueues& queues, std::int32_t queue_id) {
    // Most topics have all their queues, so that each is at the place of its id.
    const auto place = static_cast<std::size_t>(queue_id);
    if (place < queues.size() && queues[place].first == queue_id) {
        return queues.begin() + queue_id;
    }
    return std::lower_bound(queues.begin(), queues.end(), queue_id, [](const auto& q, auto id) {
        return q.first < id;
    });
}

/// An extent that the directory lists, with what its header must say.
struct ListedExtent {
    ExtentPlace place;
    ExtentHeader header;
};

Status check_headers(const ExtentFiles& files, std::vector<ListedExtent>& listed) {
    // In the order of the files, so that a cold start reads ahead instead of seeking.
    std::sort(listed.begin(), listed.end(), [](const ListedExtent& a, const ListedExtent& b) {
        return std::pair(a.place.file, a.place.at) < std::pair(b.place.file, b.place.at);
    });
    for (const ListedExtent& extent : listed) {
        if (!extent_header_matches(files.data(extent.place), extent.header)) {
            return Error{Errc::kCorrupt,
                         "extent header of queue " + std::to_string(extent.header.queue_uid) +
                             " at offset " + std::to_string(extent.header.base) + " in file " +
                             std::to_string(extent.place.file) + " is damaged"};
        }
    }
    return ok();
}

Status remove_all(FileSystem& files, const std::filesystem::path& directory) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    // The directory goes first: without it the other files mean nothing.
    if (files.exists(directory / kDirectoryName)) {
        GANTRY_TRY(files.remove(directory / kDirectoryName));
        GANTRY_TRY(files.sync_directory(directory));
    }
    for (const std::string& name : names) {
        if (name.size() == 8 && name.find_first_not_of("0123456789") == std::string::npos) {
            GANTRY_TRY(files.remove(directory / name));
        }
    }
    return ok();
}

}  // namespace

struct ConsumeQueues::Parts {
    Parts(FileSystem& f, const Options& o) : files(f), options(o) {}

    FileSystem& files;
    const Options options;
    std::unique_ptr<ExtentFiles> extents;
    mutable std::array<Mutex, kStripes> stripes;  ///< after mutex

    mutable Mutex mutex;
    ByName<TopicQueues> topics GANTRY_GUARDED_BY(mutex);
    std::deque<QueueIndex> queues GANTRY_GUARDED_BY(mutex);  ///< dropped ones too: handles live on
    std::vector<QueueIndex*> dropping GANTRY_GUARDED_BY(mutex);  ///< wait for their last publish
    std::uint64_t next_uid GANTRY_GUARDED_BY(mutex) = 1;
    std::size_t living GANTRY_GUARDED_BY(mutex) = 0;
    LogOffset published GANTRY_GUARDED_BY(mutex);  ///< no unit on disk ends above

    Result<std::unique_ptr<ExtentFiles>> open_extents() {
        return ExtentFiles::open(files,
                                 {.directory = options.directory,
                                  .first_file_blocks = options.first_file_blocks,
                                  .file_blocks_max = options.file_blocks_max,
                                  .blocks_ahead = options.blocks_ahead,
                                  .helper_thread = options.helper_thread});
    }

    TopicQueues& topic(std::string_view name) GANTRY_REQUIRES(mutex) {
        const auto found = topics.find(name);
        return found != topics.end() ? found->second : topics[std::string(name)];
    }

    template <class Each>
    void each_of(std::string_view name, const Each& each) GANTRY_REQUIRES(mutex) {
        if (const auto found = topics.find(name); found != topics.end()) {
            for (const auto& [id, queue] : found->second) {
                each(*queue);
            }
        }
    }
};

ConsumeQueues::ConsumeQueues(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

ConsumeQueues::~ConsumeQueues() = default;

Mutex& ConsumeQueues::stripe_of(const QueueIndex* queue) const noexcept {
    return parts_->stripes[reinterpret_cast<std::uintptr_t>(queue) / sizeof(QueueIndex) % kStripes];
}

ExtentFiles& ConsumeQueues::files() const noexcept {
    return *parts_->extents;
}

Result<ConsumeQueues::Opened> ConsumeQueues::open(FileSystem& files, const Options& options) {
    Opened opened;
    auto parts = std::make_unique<Parts>(files, options);
    GANTRY_ASSIGN_OR_RETURN(parts->extents, parts->open_extents());
    opened.queues.reset(new ConsumeQueues(std::move(parts)));
    if (Status loaded = opened.queues->load(); !loaded) {
        const Error& error = loaded.error();
        if (error.code != Errc::kCorrupt && error.code != Errc::kNotFound) {
            return error;
        }
        opened.needs_rebuild = true;
        if (error.code == Errc::kCorrupt) {
            opened.rebuild_reason = error.detail;
            kLog.warn("consume_queues_need_rebuild", {{"error", error}});
        }
        opened.queues.reset();
        GANTRY_TRY(remove_all(files, options.directory));
        parts = std::make_unique<Parts>(files, options);
        GANTRY_ASSIGN_OR_RETURN(parts->extents, parts->open_extents());
        opened.queues.reset(new ConsumeQueues(std::move(parts)));
    }
    opened.queues->files().finish_loading();
    return opened;
}

Status ConsumeQueues::load() {
    Parts& p = *parts_;
    GANTRY_ASSIGN_OR_RETURN(
        const std::string file,
        read_file(p.files, p.options.directory / kDirectoryName, kDirectoryBytesMax));
    GANTRY_ASSIGN_OR_RETURN(Directory directory, parse_directory(as_bytes(file)));
    std::vector<ListedExtent> listed;
    const MutexLock lock(p.mutex);
    p.next_uid = directory.next_uid;
    p.published = directory.published;
    for (Directory::Topic& topic : directory.topics) {
        TopicQueues& queues = p.topic(topic.name);
        for (auto& [entry, extents] : topic.queues) {
            if (!queues.empty() && queues.back().first >= entry.queue_id) {
                return Error{Errc::kCorrupt, "consume queue directory: queues are out of order"};
            }
            QueueIndex& queue = p.queues.emplace_back(*this, entry.uid);
            for (const ExtentEntry& extent : extents) {
                if (!p.extents->claim(extent.place)) {
                    return Error{Errc::kCorrupt,
                                 "consume queue file " + std::to_string(extent.place.file) +
                                     " is missing, damaged, or an extent of it is listed twice"};
                }
                listed.push_back(
                    {extent.place, {extent.place.extent_class(), entry.uid, extent.base}});
            }
            queue.extents_->entries = std::move(extents);
            queue.next_.store(entry.max, std::memory_order_relaxed);
            queue.min_.store(entry.min, std::memory_order_relaxed);
            queue.max_.store(entry.max, std::memory_order_release);
            queue.set_tail();
            queues.emplace_back(entry.queue_id, &queue);
            ++p.living;
        }
    }
    return check_headers(*p.extents, listed);
}

QueueIndex& ConsumeQueues::queue(std::string_view topic, std::int32_t queue_id) {
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    TopicQueues& queues = p.topic(topic);
    const auto at = lower_bound_of(queues, queue_id);
    if (at != queues.end() && at->first == queue_id) {
        return *at->second;
    }
    QueueIndex& made = p.queues.emplace_back(*this, p.next_uid++);
    made.set_tail();
    queues.emplace(at, queue_id, &made);
    ++p.living;
    return made;
}

QueueIndex* ConsumeQueues::find(std::string_view topic, std::int32_t queue_id) const {
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    const auto found = p.topics.find(topic);
    if (found == p.topics.end()) {
        return nullptr;
    }
    const auto at = lower_bound_of(found->second, queue_id);
    return at != found->second.end() && at->first == queue_id ? at->second : nullptr;
}

void ConsumeQueues::for_each(
    const std::function<void(std::string_view, std::int32_t, QueueIndex&)>& each) const {
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    for (const auto& [name, queues] : p.topics) {
        for (const auto& [id, queue] : queues) {
            each(name, id, *queue);
        }
    }
}

std::size_t ConsumeQueues::queue_count() const {
    const MutexLock lock(parts_->mutex);
    return parts_->living;
}

void ConsumeQueues::seal(std::string_view topic) {
    const MutexLock lock(parts_->mutex);
    parts_->each_of(topic, [this](QueueIndex& queue) {
        const MutexLock stripe(stripe_of(&queue));
        queue.room_end_.store(QueueIndex::kSealed, std::memory_order_release);
    });
}

void ConsumeQueues::unseal(std::string_view topic) {
    const MutexLock lock(parts_->mutex);
    parts_->each_of(topic, [this](QueueIndex& queue) {
        const MutexLock stripe(stripe_of(&queue));
        queue.set_tail();
    });
}

void ConsumeQueues::drop(std::string_view topic) {
    seal(topic);
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    const auto found = p.topics.find(topic);
    if (found == p.topics.end()) {
        return;
    }
    for (const auto& [id, queue] : found->second) {
        p.dropping.push_back(queue);
    }
    p.living -= found->second.size();
    p.topics.erase(found);
    free_dropped(p.dropping);
}

void ConsumeQueues::free_dropped(std::vector<QueueIndex*>& dropping) {
    const auto is_freed = [this](QueueIndex* queue) {
        const MutexLock stripe(stripe_of(queue));
        const std::int64_t max = queue->max_.load(std::memory_order_acquire);
        if (queue->next_.load(std::memory_order_relaxed) != max) {
            return false;
        }
        queue->min_.store(max, std::memory_order_release);
        queue->free_extents_locked();
        return true;
    };
    dropping.erase(std::remove_if(dropping.begin(), dropping.end(), is_freed), dropping.end());
}

void ConsumeQueues::truncate_after(LogOffset end) {
    {
        const MutexLock lock(parts_->mutex);
        if (parts_->published <= end) {
            return;
        }
    }
    cut(end);
}

void ConsumeQueues::cut(LogOffset end) {
    Parts& p = *parts_;
    const MutexLock lock(p.mutex);
    p.published = std::min(p.published, end);
    for (const auto& [name, queues] : p.topics) {
        for (const auto& [id, queue] : queues) {
            queue->truncate_to(end);
        }
    }
}

std::vector<ConsumeQueues::Moved> ConsumeQueues::advance_min(LogOffset first) {
    std::vector<std::pair<Moved, QueueIndex*>> due;
    {
        const MutexLock lock(parts_->mutex);
        for (const auto& [name, queues] : parts_->topics) {
            for (const auto& [id, queue] : queues) {
                if (queue->min() < queue->max()) {
                    due.emplace_back(Moved{name, id, queue->min(), {}}, queue);
                }
            }
        }
    }
    std::vector<Moved> moved;
    for (auto& [queue, index] : due) {
        index->advance_min(first);
        queue.to = index->min();
        if (queue.to > queue.from) {
            moved.push_back(std::move(queue));
        }
    }
    return moved;
}

Status ConsumeQueues::flush(const std::function<LogOffset()>& published,
                            const std::function<Status(LogOffset)>& sync_log) {
    Parts& p = *parts_;
    DirectoryWriter writer;
    LogOffset bound;
    std::uint64_t next_uid = 0;
    {
        const MutexLock lock(p.mutex);
        free_dropped(p.dropping);
        p.extents->begin_flush();
        for (const auto& [name, queues] : p.topics) {
            writer.begin_topic(name, static_cast<std::uint32_t>(queues.size()));
            for (const auto& [id, queue] : queues) {
                const MutexLock stripe(stripe_of(queue));
                writer.add_queue({.queue_id = id,
                                  .uid = queue->extents_->uid,
                                  .min = queue->min_.load(std::memory_order_relaxed),
                                  .max = queue->max_.load(std::memory_order_acquire)},
                                 queue->extents_->entries);
            }
        }
        bound = published();
        p.published = std::max(p.published, bound);
        next_uid = p.next_uid;
    }
    const auto make_durable = [&]() -> Status {
        GANTRY_TRY(p.extents->sync());
        // A directory without a topic whose deletion the log then lost would lose its messages.
        GANTRY_TRY(sync_log(bound));
        return write_file_atomically(p.files,
                                     p.options.directory / kDirectoryName,
                                     as_bytes(std::move(writer).finish(next_uid, bound)));
    };
    Status done = make_durable();
    p.extents->end_flush(done.has_value());
    return done;
}

std::uint64_t ConsumeQueues::file_bytes() const {
    return parts_->extents->file_bytes();
}

}  // namespace gantry::storage
