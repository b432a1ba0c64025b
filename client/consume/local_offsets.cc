// SPDX-License-Identifier: Apache-2.0
#include "client/consume/local_offsets.h"

#include "common/log.h"

#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

namespace gantry::client {
namespace {

constexpr Logger kLog("client");
constexpr std::string_view kMagic = "gantry-offsets";
constexpr int kVersion = 1;
constexpr std::chrono::milliseconds kRetry{1'000};

}  // namespace

LocalOffsets::LocalOffsets(std::filesystem::path path, std::string group)
    : path_(std::move(path)), group_(std::move(group)), files_(make_posix_file_system()) {}

Result<std::shared_ptr<LocalOffsets>> LocalOffsets::open(const std::filesystem::path& path,
                                                         const std::string& group) {
    std::shared_ptr<LocalOffsets> offsets(new LocalOffsets(path, group));
    if (path.has_parent_path()) {
        GANTRY_TRY(offsets->files_->create_directories(path.parent_path()));
    }
    GANTRY_ASSIGN_OR_RETURN(offsets->lock_, offsets->files_->lock(path.string() + ".lock"));
    if (offsets->files_->exists(path)) {
        GANTRY_TRY(offsets->load());
    }
    offsets->writer_ = std::thread([raw = offsets.get()] { raw->write_changes(); });
    return offsets;
}

LocalOffsets::~LocalOffsets() {
    {
        const MutexLock lock(mutex_);
        is_closing_ = true;
    }
    changed_.notify_all();
    if (writer_.joinable()) {
        writer_.join();
    }
}

Status LocalOffsets::load() {
    std::ifstream file(path_);
    std::string line;
    std::getline(file, line);
    std::istringstream head(line);
    std::string magic;
    std::string group;
    int version = 0;
    if (!(head >> magic >> version >> group) || magic != kMagic || version != kVersion) {
        return Error{Errc::kCorrupt, path_.string() + ":1: \"" + line + "\" is no file of offsets"};
    }
    if (group != group_) {
        return Error{Errc::kRefused,
                     path_.string() + " has the offsets of group " + group + ", not of " + group_};
    }
    const MutexLock lock(mutex_);
    for (int number = 2; std::getline(file, line); ++number) {
        std::istringstream fields(line);
        QueueId queue;
        std::int64_t offset = 0;
        if (!(fields >> offset >> queue.queue >> queue.broker >> queue.topic) || offset < 0) {
            return Error{
                Errc::kCorrupt,
                path_.string() + ":" + std::to_string(number) + ": \"" + line + "\" is no offset"};
        }
        offsets_[queue] = offset;
    }
    return file.bad() ? Status(Error{Errc::kIo, "cannot read " + path_.string()}) : ok();
}

std::optional<std::int64_t> LocalOffsets::find(const QueueId& queue) const {
    const MutexLock lock(mutex_);
    const auto found = offsets_.find(queue);
    return found == offsets_.end() ? std::nullopt : std::optional(found->second);
}

void LocalOffsets::put(const std::map<QueueId, std::int64_t>& offsets) {
    {
        const MutexLock lock(mutex_);
        for (const auto& [queue, offset] : offsets) {
            offsets_[queue] = offset;
        }
        is_dirty_ = true;
    }
    changed_.notify_all();
}

Status LocalOffsets::save() {
    const MutexLock writing(writing_);
    std::ostringstream text;
    {
        const MutexLock lock(mutex_);
        if (!std::exchange(is_dirty_, false)) {
            return ok();
        }
        text << kMagic << ' ' << kVersion << ' ' << group_ << '\n';
        for (const auto& [queue, offset] : offsets_) {
            text << offset << ' ' << queue.queue << ' ' << queue.broker << ' ' << queue.topic
                 << '\n';
        }
    }
    const std::string content = text.str();
    Status written = write_file_atomically(*files_, path_, as_bytes(content));
    if (!written) {
        const MutexLock lock(mutex_);
        is_dirty_ = true;
    }
    return written;
}

void LocalOffsets::write_changes() {
    for (bool is_last = false; !is_last;) {
        {
            MutexLock lock(mutex_);
            while (!is_dirty_ && !is_closing_) {
                lock.wait(changed_);
            }
            is_last = is_closing_;
        }
        if (const Status saved = save(); !saved) {
            kLog.warn("offsets_not_saved", {{"file", path_.string()}, {"error", saved.error()}});
            MutexLock lock(mutex_);
            if (!is_closing_) {
                lock.wait_until(changed_, std::chrono::steady_clock::now() + kRetry);
            }
        }
    }
}

}  // namespace gantry::client
