// SPDX-License-Identifier: Apache-2.0
#include "storage/import/rocketmq_queues.h"

#include "storage/index/queue_index.h"
#include "storage/log/segment.h"

#include <array>
#include <functional>
#include <system_error>
#include <utility>
#include <vector>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

/// One file of a consume queue.
struct UnitFile {
    std::int64_t base = 0;  ///< queue offset of its first unit
    std::int64_t units = 0;
    std::unique_ptr<File> file;
};

Result<QueueUnit> unit_of(const UnitFile& file, std::int64_t index) {
    std::array<std::byte, kUnitBytes> bytes{};
    GANTRY_ASSIGN_OR_RETURN(
        const std::size_t got,
        file.file->read_at(static_cast<std::uint64_t>(index) * kUnitBytes, bytes));
    return got == bytes.size() ? decode_unit(bytes.data()) : QueueUnit{};
}

/// First unit of [0, units) that `is_behind` holds for; it holds for all behind that one.
Result<std::int64_t> find_unit(const UnitFile& file,
                               const std::function<bool(const QueueUnit&)>& is_behind) {
    std::int64_t low = 0;
    std::int64_t high = file.units;
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        GANTRY_ASSIGN_OR_RETURN(const QueueUnit unit, unit_of(file, middle));
        if (is_behind(unit)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

Result<std::vector<UnitFile>> open_files(FileSystem& files, const fs::path& directory) {
    std::vector<UnitFile> opened;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        const std::optional<LogOffset> byte = parse_segment_name(name);
        if (!byte || byte->value % static_cast<std::int64_t>(kUnitBytes) != 0) {
            continue;
        }
        UnitFile file;
        file.base = byte->value / static_cast<std::int64_t>(kUnitBytes);
        GANTRY_ASSIGN_OR_RETURN(file.file, files.open(directory / name, FileSystem::Open::kRead));
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t bytes, file.file->size());
        file.units = static_cast<std::int64_t>(bytes / kUnitBytes);
        opened.push_back(std::move(file));
    }
    return opened;
}

Result<RocketMqQueues::Queue> load_queue(FileSystem& files,
                                         const fs::path& directory,
                                         LogOffset log_first) {
    RocketMqQueues::Queue queue;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<UnitFile> opened, open_files(files, directory));
    for (const UnitFile& file : opened) {
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t end, find_unit(file, [](const QueueUnit& unit) {
                                    return unit.size <= 0;
                                }));
        if (end > 0) {
            queue.max = file.base + end;
        }
        if (queue.first || end == 0) {
            continue;
        }
        // Below: units whose records the source has deleted, and the blanks of a queue that
        // began above 0.
        GANTRY_ASSIGN_OR_RETURN(
            const std::int64_t start, find_unit(file, [log_first](const QueueUnit& unit) {
                return unit.size <= 0 || (!unit.is_hole() && unit.at >= log_first);
            }));
        if (start < end) {
            GANTRY_ASSIGN_OR_RETURN(const QueueUnit unit, unit_of(file, start));
            queue.min = file.base + start;
            queue.first = unit.at;
        }
    }
    if (!queue.first) {
        queue.min = queue.max;
    }
    return queue;
}

std::optional<std::int32_t> queue_id_of(const std::string& name) {
    constexpr std::size_t kDigitsMax = 9;
    if (name.empty() || name.size() > kDigitsMax ||
        name.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    return static_cast<std::int32_t>(std::stol(name));
}

bool is_folder(const fs::path& path) {
    std::error_code failed;
    return fs::is_directory(path, failed);
}

}  // namespace

Result<RocketMqQueues> RocketMqQueues::load(FileSystem& files,
                                            const fs::path& directory,
                                            LogOffset log_first) {
    RocketMqQueues queues;
    if (!is_folder(directory)) {
        return queues;
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> topics, files.list(directory));
    for (const std::string& topic : topics) {
        if (!is_folder(directory / topic)) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                                files.list(directory / topic));
        for (const std::string& name : names) {
            const std::optional<std::int32_t> queue_id = queue_id_of(name);
            if (queue_id && is_folder(directory / topic / name)) {
                GANTRY_ASSIGN_OR_RETURN(queues.topics_[topic][*queue_id],
                                        load_queue(files, directory / topic / name, log_first));
            }
        }
    }
    return queues;
}

const RocketMqQueues::Queue* RocketMqQueues::find(std::string_view topic,
                                                  std::int32_t queue_id) const {
    const auto found = topics_.find(topic);
    if (found == topics_.end()) {
        return nullptr;
    }
    const auto queue = found->second.find(queue_id);
    return queue == found->second.end() ? nullptr : &queue->second;
}

}  // namespace gantry::storage
