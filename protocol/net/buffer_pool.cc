// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/buffer_pool.h"

#include <utility>

namespace gantry::net {

std::shared_ptr<ReceiveBuffer> BufferPool::take(std::size_t bytes) {
    for (std::size_t i = buffers_.size(); i-- > 0;) {
        if (buffers_[i]->capacity >= bytes && !buffers_[i]->is_pinned()) {
            std::shared_ptr<ReceiveBuffer> found = std::move(buffers_[i]);
            buffers_[i] = std::move(buffers_.back());
            buffers_.pop_back();
            found->begin = 0;
            found->end = 0;
            return found;
        }
    }
    return std::make_shared<ReceiveBuffer>(bytes);
}

void BufferPool::give(std::shared_ptr<ReceiveBuffer> buffer) {
    if (buffer != nullptr && buffers_.size() < kBuffersMax && buffer->capacity <= kBufferBytesMax) {
        buffers_.push_back(std::move(buffer));
    }
}

std::string BufferPool::take_chunk() {
    if (!chunks_.empty()) {
        std::string chunk = std::move(chunks_.back());
        chunks_.pop_back();
        return chunk;
    }
    std::string chunk;
    chunk.reserve(kChunkBytes);
    return chunk;
}

void BufferPool::give_chunk(std::string chunk) {
    if (chunks_.size() < kChunksMax && chunk.capacity() >= kChunkBytes &&
        chunk.capacity() <= 2 * kChunkBytes) {
        chunk.clear();
        chunks_.push_back(std::move(chunk));
    }
}

}  // namespace gantry::net
