// SPDX-License-Identifier: Apache-2.0
#include "storage/index/queue_directory.h"

#include "common/checksum.h"

#include <cstddef>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::uint32_t kMagic = 0x47435144U;  // GCQD
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 28;  // magic, version, next uid, published, topics
constexpr std::size_t kHashBytes = 8;

Error corrupt(std::string_view what) {
    return {Errc::kCorrupt, "consume queue directory: " + std::string(what)};
}

Status read_queue(ByteReader& in, Directory::Queue* into) {
    QueueEntry* const queue = &into->entry;
    std::vector<ExtentEntry>& extents = into->extents;
    queue->queue_id = in.read<std::int32_t>();
    queue->uid = in.read<std::uint64_t>();
    queue->min = in.read<std::int64_t>();
    queue->max = in.read<std::int64_t>();
    std::int64_t base = in.read<std::int64_t>();
    const auto count = in.read<std::uint32_t>();
    if (in.failed() || count > in.remaining() / 8) {
        return corrupt("truncated queue");
    }
    extents.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        ExtentEntry entry{base, {}};
        entry.place.file = in.read<std::uint32_t>();
        entry.place.at = in.read<std::uint32_t>();
        if (entry.place.extent_class() >= kExtentClasses) {
            return corrupt("unknown extent class " + std::to_string(entry.place.extent_class()));
        }
        base = entry.end();
        extents.push_back(entry);
    }
    const bool is_covered = extents.empty()
                                ? queue->min == queue->max
                                : extents.front().base <= queue->min && queue->max <= base;
    if (queue->min < 0 || queue->min > queue->max || !is_covered) {
        return corrupt("queue " + std::to_string(queue->uid) + " has units without an extent");
    }
    return ok();
}

}  // namespace

template <class T>
void DirectoryWriter::append(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store_be(reinterpret_cast<std::byte*>(bytes_.data()) + at, value);
}

DirectoryWriter::DirectoryWriter() : bytes_(kHeaderBytes, '\0') {}

void DirectoryWriter::begin_topic(std::string_view name, std::uint32_t queue_count) {
    append(static_cast<std::uint16_t>(name.size()));
    bytes_.append(name);
    append(queue_count);
    ++topic_count_;
}

void DirectoryWriter::add_queue(const QueueEntry& queue, std::span<const ExtentEntry> extents) {
    append(queue.queue_id);
    append(queue.uid);
    append(queue.min);
    append(queue.max);
    append(extents.empty() ? queue.max : extents.front().base);
    append(static_cast<std::uint32_t>(extents.size()));
    for (const ExtentEntry& extent : extents) {
        append(extent.place.file);
        append(extent.place.at);
    }
}

std::string DirectoryWriter::finish(std::uint64_t next_uid, LogOffset published) && {
    auto* const header = reinterpret_cast<std::byte*>(bytes_.data());
    store_be(header, kMagic);
    store_be(header + 4, kVersion);
    store_be(header + 8, next_uid);
    store_be(header + 16, published.value);
    store_be(header + 24, topic_count_);
    append(xxh3(as_bytes(bytes_)));
    return std::move(bytes_);
}

Result<Directory> parse_directory(Bytes file) {
    if (file.size() < kHeaderBytes + kHashBytes) {
        return corrupt(std::to_string(file.size()) + " B are too few");
    }
    const Bytes content = file.first(file.size() - kHashBytes);
    if (load_be<std::uint64_t>(file.data() + content.size()) != xxh3(content)) {
        return corrupt("checksum does not match");
    }
    ByteReader in(content);
    if (in.read<std::uint32_t>() != kMagic || in.read<std::uint32_t>() != kVersion) {
        return corrupt("unknown format or version");
    }
    Directory directory;
    directory.next_uid = in.read<std::uint64_t>();
    directory.published = LogOffset(in.read<std::int64_t>());
    const auto topics = in.read<std::uint32_t>();
    for (std::uint32_t i = 0; i < topics && !in.failed(); ++i) {
        Directory::Topic topic;
        topic.name = as_text(in.take(in.read<std::uint16_t>()));
        const auto queues = in.read<std::uint32_t>();
        for (std::uint32_t q = 0; q < queues; ++q) {
            topic.queues.emplace_back();
            GANTRY_TRY(read_queue(in, &topic.queues.back()));
        }
        directory.topics.push_back(std::move(topic));
    }
    if (in.failed() || in.remaining() != 0) {
        return corrupt("length does not add up");
    }
    return directory;
}

}  // namespace gantry::storage
