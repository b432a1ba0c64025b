// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/planted_mark.h"

#include "storage/files/message_file.h"

#include <utility>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47504C54U;  // GPLT
constexpr const char* kName = "planted";

}  // namespace

PlantedMark::PlantedMark(wire::StoreSeed seed) : seed_(std::move(seed)) {
    const std::int64_t until = seed_.state().logoffset();
    seed_.mutable_state()->Clear();
    seed_.mutable_state()->set_logoffset(until);
    seed_.clear_imported();
    for (const wire::StoreSeed::Queue& queue : seed_.queues()) {
        lives_from_[queue.topic()][queue.queueid()] = queue.from();
    }
}

Result<std::optional<PlantedMark>> PlantedMark::load(FileSystem& files,
                                                     const std::filesystem::path& store) {
    if (!files.exists(store / kName)) {
        return std::optional<PlantedMark>();
    }
    wire::StoreSeed seed;
    GANTRY_TRY(load_message(files, store / kName, kMagic, seed));
    return std::optional<PlantedMark>(PlantedMark(std::move(seed)));
}

Status PlantedMark::save(FileSystem& files, const std::filesystem::path& store) const {
    return save_message(files, store / kName, kMagic, seed_);
}

bool PlantedMark::is_unlisted(const wire::Record& record, LogOffset at) const {
    if (at >= until()) {
        return false;
    }
    const auto topic = lives_from_.find(record.topic);
    if (topic == lives_from_.end()) {
        return true;
    }
    const auto queue = topic->second.find(record.queue_id);
    return queue == topic->second.end() || at.value < queue->second;
}

}  // namespace gantry::storage
