// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/cold_memory.h"

#include <cstdlib>

namespace gantry::storage {
namespace {

constexpr std::size_t kKept = 32;

}  // namespace

PageBuffer::PageBuffer(std::size_t bytes) {
    const std::size_t whole = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, whole)));
    size_ = memory_ == nullptr ? 0 : whole;
}

void PageBuffer::Free::operator()(std::byte* memory) const noexcept {
    std::free(memory);
}

struct ReplyMemory::Shelf {
    Mutex mutex;
    std::vector<std::unique_ptr<PageBuffer>> kept GANTRY_GUARDED_BY(mutex);
    std::uint64_t taken GANTRY_GUARDED_BY(mutex) = 0;
};

ReplyMemory::ReplyMemory() : shelf_(std::make_shared<Shelf>()) {}

std::shared_ptr<PageBuffer> ReplyMemory::take(std::size_t bytes) {
    std::unique_ptr<PageBuffer> buffer;
    const bool is_usual = bytes <= kReplyBytes;
    if (is_usual) {
        const MutexLock lock(shelf_->mutex);
        if (!shelf_->kept.empty()) {
            buffer = std::move(shelf_->kept.back());
            shelf_->kept.pop_back();
        }
    }
    if (buffer == nullptr) {
        buffer = std::make_unique<PageBuffer>(is_usual ? kReplyBytes : bytes);
    }
    const std::size_t size = buffer->bytes().size();
    if (size == 0) {
        return nullptr;
    }
    {
        const MutexLock lock(shelf_->mutex);
        shelf_->taken += size;
    }
    const auto give_back = [shelf = shelf_, is_usual](PageBuffer* given) {
        std::unique_ptr<PageBuffer> owned(given);
        const MutexLock lock(shelf->mutex);
        shelf->taken -= owned->bytes().size();
        if (is_usual && shelf->kept.size() < kKept) {
            shelf->kept.push_back(std::move(owned));
        }
    };
    return {buffer.release(), give_back};
}

std::uint64_t ReplyMemory::taken_bytes() const {
    const MutexLock lock(shelf_->mutex);
    return shelf_->taken;
}

ChunkCache::ChunkPtr ChunkCache::find(LogOffset at) {
    const auto found = chunks_.find(at.value);
    if (found == chunks_.end()) {
        return nullptr;
    }
    uses_.splice(uses_.end(), uses_, found->second.use);
    return found->second.chunk;
}

ChunkCache::ChunkPtr ChunkCache::begin(LogOffset at) {
    ChunkPtr chunk;
    const std::uint64_t used = (chunks_.size() + reading_.size()) * kChunkBytes;
    if (used + kChunkBytes > bytes_max_) {
        chunk = take_oldest();
    }
    if (chunk == nullptr) {
        chunk = std::make_shared<Chunk>();
        if (chunk->memory.bytes().empty()) {
            return nullptr;
        }
    }
    chunk->at = at;
    chunk->valid = 0;
    reading_.insert(at.value);
    return chunk;
}

ChunkCache::ChunkPtr ChunkCache::take_oldest() {
    for (auto use = uses_.begin(); use != uses_.end(); ++use) {
        const auto entry = chunks_.find(*use);
        if (entry->second.chunk.use_count() == 1) {
            ChunkPtr chunk = std::move(entry->second.chunk);
            chunks_.erase(entry);
            uses_.erase(use);
            return chunk;
        }
    }
    return nullptr;
}

void ChunkCache::put(ChunkPtr chunk) {
    const std::int64_t at = chunk->at.value;
    reading_.erase(at);
    const auto old = chunks_.find(at);
    if (old != chunks_.end()) {
        uses_.erase(old->second.use);
        chunks_.erase(old);
    }
    uses_.push_back(at);
    chunks_[at] = {std::move(chunk), std::prev(uses_.end())};
}

void ChunkCache::drop_all() {
    chunks_.clear();
    uses_.clear();
}

}  // namespace gantry::storage
