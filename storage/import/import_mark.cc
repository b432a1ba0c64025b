// SPDX-License-Identifier: Apache-2.0
#include "storage/import/import_mark.h"

#include "storage/files/message_file.h"

#include <utility>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47494D50U;  // GIMP
constexpr const char* kName = "imported";

}  // namespace

bool is_kept_from_queues(std::int32_t sys_flag) noexcept {
    const std::int32_t kind = sys_flag & wire::sys_flag::kTransactionMask;
    return kind == wire::sys_flag::kTransactionPrepared ||
           kind == wire::sys_flag::kTransactionRollback;
}

ImportMark::ImportMark(wire::ImportedLog log) : log_(std::move(log)) {
    for (const wire::ImportedQueue& queue : log_.queues()) {
        if (queue.livesfrom() > 0) {
            lives_from_[queue.topic()][queue.queueid()] = queue.livesfrom();
        }
    }
}

Result<std::optional<ImportMark>> ImportMark::load(FileSystem& files,
                                                   const std::filesystem::path& store) {
    if (!files.exists(store / kName)) {
        return std::optional<ImportMark>();
    }
    wire::ImportedLog log;
    GANTRY_TRY(load_message(files, store / kName, kMagic, log));
    return std::optional<ImportMark>(ImportMark(std::move(log)));
}

Status ImportMark::save(FileSystem& files, const std::filesystem::path& store) const {
    return save_message(files, store / kName, kMagic, log_);
}

bool ImportMark::is_unlisted(const wire::Record& record, LogOffset at) const {
    if (is_kept_from_queues(record.sys_flag)) {
        return true;
    }
    const auto topic = lives_from_.find(record.topic);
    if (topic == lives_from_.end()) {
        return false;
    }
    const auto queue = topic->second.find(record.queue_id);
    return queue != topic->second.end() && at.value < queue->second;
}

}  // namespace gantry::storage
