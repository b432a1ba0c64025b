// SPDX-License-Identifier: Apache-2.0
#include "storage/check/stored_queues.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr std::uint64_t kDirectoryBytesMax = std::uint64_t{4} << 30U;
constexpr std::size_t kNameDigits = 8;

std::optional<std::uint32_t> file_number(const std::string& name) {
    if (name.size() != kNameDigits || name.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(std::stoul(name));
}

}  // namespace

std::string message_name(std::string_view topic, std::int32_t queue_id, std::int64_t at) {
    return "topic " + std::string(topic) + " queue " + std::to_string(queue_id) + " offset " +
           std::to_string(at);
}

Result<StoredQueues> StoredQueues::open(FileSystem& files, const std::filesystem::path& directory) {
    GANTRY_ASSIGN_OR_RETURN(const std::string content,
                            read_file(files, directory / "directory", kDirectoryBytesMax));
    GANTRY_ASSIGN_OR_RETURN(Directory parsed, parse_directory(as_bytes(content)));
    StoredQueues opened;
    opened.directory_ = std::make_unique<Directory>(std::move(parsed));
    for (const Directory::Topic& topic : opened.directory_->topics) {
        for (const Directory::Queue& queue : topic.queues) {
            opened.by_name_[topic.name][queue.entry.queue_id] = opened.queues_.size();
            opened.queues_.push_back({&topic.name, &queue});
        }
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.list(directory));
    for (const std::string& name : names) {
        const std::optional<std::uint32_t> number = file_number(name);
        if (!number) {
            continue;
        }
        ExtentFile& extents = opened.files_[*number];
        GANTRY_ASSIGN_OR_RETURN(extents.file,
                                files.open(directory / name, FileSystem::Open::kRead));
        GANTRY_ASSIGN_OR_RETURN(const std::uint64_t bytes, extents.file->size());
        if (bytes > 0) {
            GANTRY_ASSIGN_OR_RETURN(extents.mapping, extents.file->map(bytes, false));
        }
    }
    return opened;
}

StoredQueues::Queue* StoredQueues::find(std::string_view topic, std::int32_t queue_id) {
    const auto named = by_name_.find(std::string(topic));
    if (named == by_name_.end()) {
        return nullptr;
    }
    const auto found = named->second.find(queue_id);
    return found == named->second.end() ? nullptr : &queues_[found->second];
}

std::optional<QueueUnit> StoredQueues::unit(const Queue& queue, std::int64_t at) const {
    const QueueEntry& entry = queue.listed->entry;
    if (at < entry.min || at >= entry.max) {
        return std::nullopt;
    }
    const std::vector<ExtentEntry>& extents = queue.listed->extents;
    const auto after = std::upper_bound(
        extents.begin(), extents.end(), at, [](std::int64_t offset, const ExtentEntry& extent) {
            return offset < extent.base;
        });
    if (after == extents.begin()) {
        return std::nullopt;
    }
    const ExtentEntry& extent = *std::prev(after);
    const auto file = files_.find(extent.place.file);
    const std::uint64_t offset = kExtentFileHeaderBytes + extent.place.block_offset() +
                                 kExtentHeaderBytes +
                                 static_cast<std::uint64_t>(at - extent.base) * kUnitBytes;
    if (at >= extent.end() || file == files_.end() ||
        offset + kUnitBytes > file->second.mapping.size()) {
        return std::nullopt;
    }
    return decode_unit(file->second.mapping.data() + offset);
}

std::vector<std::string> StoredQueues::names_of(LogOffset from,
                                                LogOffset to,
                                                std::size_t count_max) const {
    std::vector<std::string> names;
    for (const Queue& queue : queues_) {
        // Units ascend: the first whose record ends above `from`.
        std::int64_t low = queue.listed->entry.min;
        std::int64_t high = queue.listed->entry.max;
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            const std::optional<QueueUnit> seen = unit(queue, middle);
            if (seen && !seen->is_hole() && seen->end() <= from) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for (; low < queue.listed->entry.max && names.size() < count_max; ++low) {
            const std::optional<QueueUnit> seen = unit(queue, low);
            if (!seen || seen->at >= to) {
                break;
            }
            names.push_back(message_name(*queue.topic, queue.listed->entry.queue_id, low));
        }
    }
    return names;
}

}  // namespace gantry::storage
