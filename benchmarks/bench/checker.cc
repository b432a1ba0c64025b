// SPDX-License-Identifier: Apache-2.0
#include "bench/checker.h"

#include <bit>
#include <ctime>

namespace gantry::bench {

std::uint64_t monotonic_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

bool SequenceSet::insert(std::uint64_t sequence) {
    const std::size_t word = static_cast<std::size_t>(sequence / 64);
    const std::uint64_t bit = std::uint64_t{1} << (sequence % 64);
    if (word >= words_.size()) {
        words_.resize(word + word / 2 + 64);
    }
    if ((words_[word] & bit) != 0) {
        return false;
    }
    words_[word] |= bit;
    ++count_;
    return true;
}

bool SequenceSet::contains(std::uint64_t sequence) const noexcept {
    const std::size_t word = static_cast<std::size_t>(sequence / 64);
    return word < words_.size() && ((words_[word] >> (sequence % 64)) & 1U) != 0;
}

std::uint64_t SequenceSet::missing_from(const SequenceSet& other) const noexcept {
    std::uint64_t missing = 0;
    for (std::size_t i = 0; i < other.words_.size(); ++i) {
        const std::uint64_t here = i < words_.size() ? words_[i] : 0;
        missing += static_cast<std::uint64_t>(std::popcount(other.words_[i] & ~here));
    }
    return missing;
}

Checker::QueueSeen& Checker::queue_of(const std::string& broker, std::int32_t queue) {
    // Messages come in long runs of one queue, and the broker name is one shared string.
    if (cached_seen_ == nullptr || cached_broker_ != &broker || cached_queue_ != queue) {
        cached_seen_ = &queues_[{broker, queue}];
        cached_broker_ = &broker;
        cached_queue_ = queue;
    }
    return *cached_seen_;
}

SequenceSet& Checker::set_of(const ProducerKey& key) {
    if (cached_set_ == nullptr || cached_producer_ != key) {
        cached_set_ = &producers_[key];
        cached_producer_ = key;
    }
    return *cached_set_;
}

void Checker::check_order(QueueSeen& seen, const ProducerKey& key, std::uint64_t sequence) {
    if (seen.cached_last == nullptr || seen.cached_key != key) {
        seen.cached_last = &seen.last_sequence[key];
        seen.cached_key = key;
    }
    // Stored as sequence + 1, so that 0 means none yet.
    if (sequence + 1 < *seen.cached_last) {
        ++out_of_order_;
        return;
    }
    *seen.cached_last = sequence + 1;
}

bool Checker::take(const std::string& broker,
                   std::int32_t queue,
                   std::int64_t offset,
                   const Stamp& stamp) {
    QueueSeen& seen = queue_of(broker, queue);
    if (seen.next_offset >= 0 && offset > seen.next_offset) {
        ++offset_gaps_;
    }
    if (offset >= seen.next_offset) {
        seen.next_offset = offset + 1;
    }
    if (run_ != 0 && stamp.run != run_) {
        return false;
    }
    ++received_;
    const ProducerKey key{stamp.run, stamp.producer};
    if (!set_of(key).insert(stamp.sequence)) {
        ++duplicates_;
        return true;
    }
    checksum_ += fingerprint(stamp);
    check_order(seen, key, stamp.sequence);
    return true;
}

std::uint64_t Checker::lost(std::uint64_t run,
                            std::uint32_t producer,
                            const SequenceSet& acked) const {
    const auto found = producers_.find({run, producer});
    return found == producers_.end() ? acked.count() : found->second.missing_from(acked);
}

}  // namespace gantry::bench
