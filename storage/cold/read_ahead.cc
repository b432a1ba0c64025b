// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_job.h"
#include "storage/cold/cold_reader.h"
#include "storage/cold/page_cache.h"

#include <algorithm>

namespace gantry::storage {
namespace {

constexpr std::uint64_t kChunkBytes = ChunkCache::kChunkBytes;

/// A reader that did not ask for that long starts anew.
constexpr std::chrono::seconds kStreamIdle{10};
constexpr std::size_t kStreamsMax = 65'536;
constexpr std::size_t kAheadMax = 4'096;

}  // namespace

LogOffset ColdReader::chunk_of(const Segment& segment, LogOffset at) noexcept {
    const std::uint64_t inside = bytes_between(segment.base(), at);
    return segment.base() + static_cast<std::int64_t>(inside / kChunkBytes * kChunkBytes);
}

void ColdReader::follow(const Position& at, SteadyTime now) {
    forget_streams(now);
    Stream& stream = streams_[at.key];
    const bool is_sequential = stream.used != SteadyTime{} && stream.next == at.from;
    stream.next = at.next;
    stream.at = at.last;
    stream.used = now;
    if (!is_sequential || at.is_sparse) {
        stream.window = 0;
        return;
    }
    const std::uint64_t share = options_.memory_bytes / 2 / streams_.size();
    const std::uint64_t most = std::clamp(share, kChunkBytes, kAheadBytesMax);
    stream.window = std::clamp(stream.window * 2, kChunkBytes, most);
    // A queue among others: its next reply spans as much of the log as this one.
    const std::uint64_t span = std::min(bytes_between(at.first, at.last), most * 2);
    want(at.last, at.last + static_cast<std::int64_t>(std::max(stream.window, span)));
}

/// Where in the log the request will read, as far as its stream tells.
std::int64_t ColdReader::place_of(const ColdRequest& request) const {
    const auto stream = streams_.find({request.queue, request.stream});
    const bool is_known = stream != streams_.end() && stream->second.next == request.units.from;
    return is_known ? stream->second.at.value : FairQueue<JobPtr>::kSomewhere;
}

void ColdReader::want(LogOffset from, LogOffset to) {
    const LogOffset end = std::min(to, source_.end());
    SegmentPtr segment;
    for (LogOffset at = from; at < end && ahead_.size() < kAheadMax;) {
        if (segment == nullptr || at >= segment->end()) {
            segment = source_.segment(at);
        }
        if (segment == nullptr) {
            return;
        }
        const LogOffset chunk = chunk_of(*segment, at);
        if (!chunks_.contains(chunk) && is_ahead_.insert(chunk).second) {
            ahead_.push_back(chunk);
            wake_.notify_one();
        }
        at = std::min(chunk + static_cast<std::int64_t>(kChunkBytes), segment->end());
    }
}

void ColdReader::forget_streams(SteadyTime now) {
    if (now - swept_at_ < kStreamIdle && streams_.size() < kStreamsMax) {
        return;
    }
    swept_at_ = now;
    std::erase_if(streams_,
                  [&](const auto& entry) { return now - entry.second.used > kStreamIdle; });
    if (streams_.size() >= kStreamsMax) {
        streams_.clear();
    }
}

void ColdReader::read_ahead(LogOffset at) {
    const SegmentPtr segment = source_.segment(at);
    if (segment == nullptr) {
        return;
    }
    const std::uint64_t length = std::min(kChunkBytes, bytes_between(at, segment->end()));
    if (is_cached(segment->file().descriptor(), bytes_between(segment->base(), at), length)) {
        return;
    }
    ChunkCache::ChunkPtr chunk;
    {
        const MutexLock lock(mutex_);
        chunk = chunks_.contains(at) ? nullptr : chunks_.begin(at);
    }
    if (chunk != nullptr) {
        // An error is told to who needs the bytes, if anybody does.
        const Status read = fill(*segment, *chunk);
        filled(std::move(chunk), read);
    }
}

Status ColdReader::fill(const Segment& segment, ChunkCache::Chunk& chunk) {
    const std::uint64_t inside = bytes_between(segment.base(), chunk.at);
    const std::uint64_t length = std::min(kChunkBytes, segment.bytes() - inside);
    const std::uint64_t pages = (length + PageBuffer::kPageBytes - 1) / PageBuffer::kPageBytes;
    // Before the read: what is appended meanwhile may or may not be in it.
    const std::uint64_t stable = bytes_between(chunk.at, std::max(chunk.at, source_.end()));
    const MutableBytes into = chunk.memory.bytes().first(pages * PageBuffer::kPageBytes);
    numbers_.disk_reads.add();
    Result<std::size_t> got = blocks_.read(segment, inside, into);
    if (!got) {
        numbers_.errors.add();
        return got.error();
    }
    numbers_.disk_bytes.add(*got);
    chunk.valid = std::min({*got, static_cast<std::size_t>(length), stable});
    return ok();
}

void ColdReader::filled(ChunkCache::ChunkPtr chunk, const Status& status) {
    const LogOffset at = chunk->at;
    const std::size_t bytes = chunk->valid;
    bool has_waiting = false;
    {
        const MutexLock lock(mutex_);
        if (status) {
            chunks_.put(std::move(chunk));
        } else {
            chunks_.give_up(at);
        }
        pace_.was_read(bytes, clock_.steady());
        if (auto waiting = for_chunk_.extract(at.value)) {
            has_waiting = true;
            for (JobPtr& job : waiting.mapped()) {
                runnable_.push_back(std::move(job));
            }
        }
    }
    if (has_waiting) {
        wake_.notify_all();
    }
}

}  // namespace gantry::storage
