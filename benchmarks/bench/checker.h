// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/stamp.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gantry::bench {

/// A growing set of sequence numbers.
class SequenceSet {
public:
    /// False when it was in already.
    bool insert(std::uint64_t sequence);
    bool contains(std::uint64_t sequence) const noexcept;
    /// How many of `other` are missing here.
    std::uint64_t missing_from(const SequenceSet& other) const noexcept;

    std::uint64_t count() const noexcept { return count_; }

private:
    std::vector<std::uint64_t> words_;
    std::uint64_t count_ = 0;
};

/// What was seen of a run, and whether it may be so: every message once, each queue's offsets
/// without a gap, and each producer's messages in the order sent within a queue.
///
/// Threads   one. Units: messages.
class Checker {
public:
    /// `run` 0: messages of every run count.
    explicit Checker(std::uint64_t run) : run_(run) {}

    /// Takes one message; false when it is not of this run or carries no stamp.
    bool take(const std::string& broker,
              std::int32_t queue,
              std::int64_t offset,
              const Stamp& stamp);

    std::uint64_t received() const noexcept { return received_; }

    std::uint64_t distinct() const noexcept { return received_ - duplicates_; }

    std::uint64_t duplicates() const noexcept { return duplicates_; }

    std::uint64_t out_of_order() const noexcept { return out_of_order_; }

    std::uint64_t offset_gaps() const noexcept { return offset_gaps_; }

    std::uint64_t checksum() const noexcept { return checksum_; }

    /// Acknowledged messages of `producer` that never came.
    std::uint64_t lost(std::uint64_t run, std::uint32_t producer, const SequenceSet& acked) const;

private:
    using ProducerKey = std::pair<std::uint64_t, std::uint32_t>;

    struct QueueSeen {
        std::int64_t next_offset = -1;
        std::map<ProducerKey, std::uint64_t> last_sequence;
        ProducerKey cached_key{};
        std::uint64_t* cached_last = nullptr;
    };

    QueueSeen& queue_of(const std::string& broker, std::int32_t queue);
    SequenceSet& set_of(const ProducerKey& key);
    void check_order(QueueSeen& seen, const ProducerKey& key, std::uint64_t sequence);

    std::uint64_t run_;
    std::map<std::pair<std::string, std::int32_t>, QueueSeen> queues_;
    std::map<ProducerKey, SequenceSet> producers_;
    const std::string* cached_broker_ = nullptr;
    std::int32_t cached_queue_ = -1;
    QueueSeen* cached_seen_ = nullptr;
    ProducerKey cached_producer_{};
    SequenceSet* cached_set_ = nullptr;
    std::uint64_t received_ = 0;
    std::uint64_t duplicates_ = 0;
    std::uint64_t out_of_order_ = 0;
    std::uint64_t offset_gaps_ = 0;
    std::uint64_t checksum_ = 0;
};

}  // namespace gantry::bench
