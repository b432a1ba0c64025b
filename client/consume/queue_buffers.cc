// SPDX-License-Identifier: Apache-2.0
#include "client/consume/queue_buffers.h"

#include "client/core/runtime.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

constexpr Logger kLog("client");
constexpr std::size_t kSliceMessages = 256;      // parsed under the lock at a time
constexpr std::size_t kUnfinishedMax = 100'000;  // messages of a queue handed out, not done
constexpr std::uint64_t kResumeAtPart = 2;       // a stalled queue goes on at half its limit

}  // namespace

QueueBuffers::QueueBuffers(Runtime& runtime,
                           LoopSlot& slot,
                           const BufferLimits& limits,
                           OnLost on_lost)
    : runtime_(runtime),
      slot_(slot),
      limits_(limits),
      received_count_(runtime.metrics().counter("gantry_client_received_messages_total",
                                                "Messages handed to the application")),
      corrupt_count_(runtime.metrics().counter("gantry_client_corrupt_answers_total",
                                               "Pull answers with a record that fails its checks")),
      losses_(runtime.metrics(), std::move(on_lost)) {}

QueueBuffers::~QueueBuffers() {
    close();
}

QueueBuffers::Queue* QueueBuffers::find_locked(const QueueId& queue) {
    const auto found = queues_.find(queue);
    return found == queues_.end() ? nullptr : &found->second;
}

std::uint64_t QueueBuffers::add(const QueueId& queue,
                                const FetchOptions& options,
                                const TagFilter& filter,
                                std::int64_t offset) {
    const MutexLock lock(mutex_);
    if (is_closed_ || queues_.count(queue) != 0) {
        return 0;
    }
    Queue& added = queues_[queue];
    added.id = queue;
    added.filter = filter;
    added.position = offset;
    added.epoch = next_epoch_++;
    if (const auto lease = leases_.find(queue.broker); lease != leases_.end()) {
        added.lease = lease->second;
    }
    added.fetcher = std::make_shared<Fetcher>(runtime_, slot_, queue, options);
    added.fetcher->seek(offset, added.epoch, weak_from_this());
    return added.epoch;
}

void QueueBuffers::remove(const QueueId& queue) {
    const MutexLock lock(mutex_);
    Queue* found = find_locked(queue);
    if (found == nullptr) {
        return;
    }
    found->fetcher->stop();
    drop_chunks_locked(*found);
    std::erase(ready_, found);
    stalled_ -= found->is_stalled ? 1U : 0U;
    queues_.erase(queue);
    resume_stalled_locked();
}

void QueueBuffers::drain(const QueueId& queue) {
    const MutexLock lock(mutex_);
    Queue* found = find_locked(queue);
    if (found == nullptr) {
        return;
    }
    found->is_draining = true;
    found->fetcher->stop();
    drop_chunks_locked(*found);
    stalled_ -= std::exchange(found->is_stalled, false) ? 1U : 0U;
    resume_stalled_locked();
}

std::optional<std::int64_t> QueueBuffers::drained(const QueueId& queue, bool by_force) const {
    const MutexLock lock(mutex_);
    const auto found = queues_.find(queue);
    if (found == queues_.end()) {
        return -1;
    }
    const Queue& read = found->second;
    if (read.unfinished.empty()) {
        return read.position;
    }
    return by_force ? std::optional(read.unfinished.begin()->first) : std::nullopt;
}

void QueueBuffers::set_lease(const std::string& broker, SteadyTime until) {
    const MutexLock lock(mutex_);
    leases_[broker] = until;
    for (auto& [id, queue] : queues_) {
        if (id.broker == broker) {
            queue.lease = until;
            make_ready_locked(queue);
        }
    }
}

bool QueueBuffers::is_leased(const Queue& queue) {
    return queue.lease == SteadyTime::max() || std::chrono::steady_clock::now() < queue.lease;
}

bool QueueBuffers::contains(const QueueId& queue) const {
    const MutexLock lock(mutex_);
    return queues_.count(queue) != 0;
}

std::vector<QueueId> QueueBuffers::queues() const {
    const MutexLock lock(mutex_);
    std::vector<QueueId> ids;
    for (const auto& [id, queue] : queues_) {
        ids.push_back(id);
    }
    return ids;
}

std::optional<Taken> QueueBuffers::take(std::vector<MessageView>& into,
                                        std::size_t count_max,
                                        SteadyTime deadline,
                                        bool tracked) {
    for (;;) {
        std::optional<Taken> taken = take_next(into, count_max, deadline, tracked);
        if (!taken.has_value() || taken->count > 0) {
            return taken;
        }
        losses_.tell({taken->queue, taken->lost.from, taken->lost.to, taken->lost.reason});
        finish(*taken);
    }
}

/// A loss, untold, counts as something taken.
std::optional<Taken> QueueBuffers::take_next(std::vector<MessageView>& into,
                                             std::size_t count_max,
                                             SteadyTime deadline,
                                             bool tracked) {
    MutexLock lock(mutex_);
    while (!is_stopped_) {
        std::optional<Taken> taken = take_locked(into, count_max, tracked);
        if (taken.has_value()) {
            if (waiting_ > 0 && !ready_.empty()) {
                arrived_.notify_one();
            }
            return taken;
        }
        ++waiting_;
        const bool in_time = lock.wait_until(arrived_, deadline);
        --waiting_;
        if (!in_time) {
            return is_stopped_ ? std::nullopt : take_locked(into, count_max, tracked);
        }
    }
    return std::nullopt;
}

std::optional<Taken> QueueBuffers::take_locked(std::vector<MessageView>& into,
                                               std::size_t count_max,
                                               bool tracked) {
    count_max = std::min(count_max, kSliceMessages);
    while (!ready_.empty()) {
        Queue& queue = *ready_.front();
        if (queue.chunks.empty() || queue.is_paused ||
            queue.unfinished_messages >= kUnfinishedMax || !is_leased(queue)) {
            queue.is_ready = false;
            ready_.pop_front();
            continue;
        }
        if (queue.chunks.front().lost.has_value()) {
            if (!into.empty()) {
                return std::nullopt;  // what is before it goes to the application first
            }
            return take_lost_locked(queue);
        }
        const std::int64_t begin = queue.position;
        const std::size_t chunks_before = queue.chunks.size();
        const std::size_t count = read_chunk_locked(queue, into, count_max);
        if (queue.chunks.size() < chunks_before) {  // its turn is over
            ready_.pop_front();
            ready_.push_back(&queue);
        }
        if (count == 0) {
            continue;
        }
        received_count_.add(count);
        if (tracked) {
            queue.unfinished.emplace(begin, count);
            queue.unfinished_messages += count;
        }
        return Taken{queue.id, queue.epoch, begin, count};
    }
    return std::nullopt;
}

Taken QueueBuffers::take_lost_locked(Queue& queue) {
    Taken taken{queue.id, queue.epoch, queue.position, 0, *queue.chunks.front().lost};
    queue.unfinished.emplace(taken.begin, 0);
    pop_chunk_locked(queue);
    ready_.pop_front();
    ready_.push_back(&queue);
    return taken;
}

/// The queue goes on behind its first chunk.
void QueueBuffers::pop_chunk_locked(Queue& queue) {
    queue.position = queue.chunks.front().next_offset;
    const std::uint64_t bytes = queue.chunks.front().bytes;
    queue.chunks.pop_front();
    release_locked(queue, bytes);
}

std::size_t QueueBuffers::read_chunk_locked(Queue& queue,
                                            std::vector<MessageView>& into,
                                            std::size_t count_max) {
    Chunk& chunk = queue.chunks.front();
    RecordReader reader(chunk.records, chunk.origin);
    const std::size_t count = reader.read(into, count_max, queue.filter);
    if (!reader.status()) {
        corrupt_count_.add();
        kLog.error("pull_answer_corrupt",
                   {{"topic", queue.id.topic},
                    {"queue", queue.id.queue},
                    {"next_offset", chunk.next_offset},
                    {"error", reader.status().error()}});
        queue.position = count > 0 ? into.back().queue_offset() + 1 : queue.position;
        if (queue.position < chunk.next_offset) {
            chunk.records = {};
            chunk.lost = LostRun{queue.position, chunk.next_offset, LostReason::kDamagedInAnswer};
            return count;
        }
    }
    if (!reader.rest().empty()) {
        chunk.records = reader.rest();
        queue.position = count > 0 ? into.back().queue_offset() + 1 : queue.position;
        return count;
    }
    pop_chunk_locked(queue);
    return count;
}

void QueueBuffers::finish(const Taken& batch) {
    const MutexLock lock(mutex_);
    Queue* queue = find_locked(batch.queue);
    if (queue == nullptr || queue->epoch != batch.epoch) {
        return;
    }
    const auto found = queue->unfinished.find(batch.begin);
    if (found == queue->unfinished.end()) {
        return;
    }
    queue->unfinished_messages -= found->second;
    queue->unfinished.erase(found);
    make_ready_locked(*queue);
}

Status QueueBuffers::seek(const QueueId& queue, std::int64_t offset) {
    const MutexLock lock(mutex_);
    Queue* found = find_locked(queue);
    if (found == nullptr) {
        return Error{Errc::kNotFound,
                     "queue " + std::to_string(queue.queue) + " of topic " + queue.topic +
                         " on broker " + queue.broker + " is not assigned to this consumer"};
    }
    if (offset < 0) {
        return Error{Errc::kRefused, "offset " + std::to_string(offset) + " is below 0"};
    }
    drop_chunks_locked(*found);
    found->unfinished.clear();
    found->unfinished_messages = 0;
    found->position = offset;
    found->epoch = next_epoch_++;
    stalled_ -= std::exchange(found->is_stalled, false) ? 1U : 0U;
    found->fetcher->seek(offset, found->epoch, weak_from_this());
    return ok();
}

void QueueBuffers::pause(const QueueId& queue) {
    const MutexLock lock(mutex_);
    if (Queue* found = find_locked(queue); found != nullptr) {
        found->is_paused = true;
    }
}

void QueueBuffers::resume(const QueueId& queue) {
    const MutexLock lock(mutex_);
    if (Queue* found = find_locked(queue); found != nullptr) {
        found->is_paused = false;
        make_ready_locked(*found);
    }
}

std::int64_t QueueBuffers::position(const QueueId& queue) const {
    const MutexLock lock(mutex_);
    const auto found = queues_.find(queue);
    return found == queues_.end() ? -1 : found->second.position;
}

std::map<QueueId, std::int64_t> QueueBuffers::commit_offsets() const {
    const MutexLock lock(mutex_);
    std::map<QueueId, std::int64_t> offsets;
    for (const auto& [id, queue] : queues_) {
        offsets[id] = queue.unfinished.empty() ? queue.position : queue.unfinished.begin()->first;
    }
    return offsets;
}

std::optional<std::int64_t> QueueBuffers::commit_offset(const QueueId& queue) const {
    const MutexLock lock(mutex_);
    const auto found = queues_.find(queue);
    if (found == queues_.end()) {
        return std::nullopt;
    }
    const Queue& read = found->second;
    return read.unfinished.empty() ? read.position : read.unfinished.begin()->first;
}

void QueueBuffers::stop_taking() {
    const MutexLock lock(mutex_);
    is_stopped_ = true;
    arrived_.notify_all();
}

void QueueBuffers::close() {
    const MutexLock lock(mutex_);
    is_closed_ = true;
    is_stopped_ = true;
    ready_.clear();
    for (auto& [id, queue] : queues_) {
        queue.fetcher->stop();
        drop_chunks_locked(queue);
    }
    queues_.clear();
    stalled_ = 0;
    arrived_.notify_all();
}

bool QueueBuffers::is_full_locked(const Queue& queue, std::uint64_t more) const {
    return queue.bytes + more >= limits_.queue_bytes_max ||
           total_bytes_ + more >= limits_.total_bytes_max || runtime_.memory().is_full();
}

bool QueueBuffers::has_room_for(const QueueId& queue, std::size_t bytes) {
    const MutexLock lock(mutex_);
    const Queue* const found = find_locked(queue);
    return found != nullptr && !is_full_locked(*found, bytes);
}

bool QueueBuffers::on_chunk(const QueueId& queue, Chunk chunk) {
    const MutexLock lock(mutex_);
    Queue* found = find_locked(queue);
    if (found == nullptr || found->epoch != chunk.epoch || found->is_draining) {
        return false;
    }
    chunk.bytes = chunk.records.size();
    found->bytes += chunk.bytes;
    total_bytes_ += chunk.bytes;
    runtime_.memory().take(chunk.bytes);
    found->chunks.push_back(std::move(chunk));
    make_ready_locked(*found);
    if (!is_full_locked(*found) || found->bytes == 0) {
        return true;
    }
    stalled_ += std::exchange(found->is_stalled, true) ? 0U : 1U;
    return false;
}

void QueueBuffers::on_moved(const QueueId& queue,
                            std::int64_t from,
                            std::int64_t offset,
                            std::uint64_t epoch) {
    const MutexLock lock(mutex_);
    Queue* found = find_locked(queue);
    if (found == nullptr || found->epoch != epoch || found->is_draining) {
        return;
    }
    moved_.fetch_add(1, std::memory_order_relaxed);
    Chunk marker;  // what was fetched before the jump comes first
    marker.next_offset = offset;
    marker.epoch = epoch;
    if (offset > from) {
        marker.lost = LostRun{from, offset, LostReason::kOutOfRange};
    }
    found->chunks.push_back(std::move(marker));
    make_ready_locked(*found);
}

void QueueBuffers::make_ready_locked(Queue& queue) {
    if (queue.chunks.empty() || queue.is_paused || queue.is_ready) {
        return;
    }
    queue.is_ready = true;
    ready_.push_back(&queue);
    if (waiting_ > 0) {
        arrived_.notify_one();
    }
}

void QueueBuffers::drop_chunks_locked(Queue& queue) {
    std::uint64_t bytes = 0;
    for (const Chunk& chunk : queue.chunks) {
        bytes += chunk.bytes;
    }
    queue.chunks.clear();
    queue.bytes -= bytes;
    total_bytes_ -= bytes;
    runtime_.memory().give(bytes);
}

void QueueBuffers::release_locked(Queue& queue, std::uint64_t bytes) {
    queue.bytes -= bytes;
    total_bytes_ -= bytes;
    runtime_.memory().give(bytes);
    resume_stalled_locked();
}

void QueueBuffers::resume_stalled_locked() {
    if (stalled_ == 0) {
        return;
    }
    for (auto& [id, queue] : queues_) {
        const bool has_room =
            queue.bytes == 0 ||
            (queue.bytes <= limits_.queue_bytes_max / kResumeAtPart && !is_full_locked(queue));
        if (queue.is_stalled && has_room) {
            queue.is_stalled = false;
            --stalled_;
            queue.fetcher->resume();
        }
    }
}

}  // namespace gantry::client
