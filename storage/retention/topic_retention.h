// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/index/consume_queues.h"
#include "storage/retention/retention_policy.h"
#include "storage/store.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Topics with retention rules of their own: what of their queues may go, whether or not the log
/// still has the bytes, and from where the log must stay for them.
///
/// Cost      nothing for other topics. A queue costs a look at its oldest message, and a binary
///           search when that has expired; with a limit in bytes, a look at each new unit.
/// Threads   one at a time; blocks on the disk.
/// Lifetime  `parts` outlives it.
class TopicRetentions {
public:
    explicit TopicRetentions(Store::Parts& parts) noexcept : parts_(parts) {}

    /// What one pass over the topics has done.
    struct Applied {
        std::vector<ConsumeQueues::Moved> moved;
        LogOffset needed{INT64_MAX};  ///< the lowest log offset one of these topics still needs
    };

    /// Moves the oldest messages of their queues up by the rules, as of `now`.
    Applied apply(WallMs now);

    bool is_empty() const noexcept { return rules_.empty(); }

    /// Whether a topic of that name has rules of its own; as of the last apply.
    bool has(std::string_view topic) const { return rules_.find(topic) != rules_.end(); }

private:
    struct Rules {
        TopicRetention retention;
        bool is_held = false;  ///< without any group nothing counts as consumed
    };

    /// How many bytes the messages [from, to) of a queue have.
    struct Counted {
        QueueOffset from, to;
        std::uint64_t bytes = 0;
    };

    /// One queue of a topic under examination.
    struct Candidate {
        std::int32_t queue_id = 0;
        QueueIndex* index = nullptr;
        QueueOffset min, max;
        QueueLimits limits;
    };

    void load_rules();
    void apply_to(const std::string& topic, const Rules& rules, WallMs now, Applied& applied);
    std::vector<Candidate> queues_of(const std::string& topic) const;
    QueueOffset first_since(const Candidate& queue, WallMs time) const;
    void limit_ages(std::vector<Candidate>& queues, const TopicRetention& rules, WallMs now) const;
    void limit_consumed(const std::string& topic,
                        bool is_held,
                        std::vector<Candidate>& queues) const;
    std::uint64_t count_bytes(const std::string& topic, const std::vector<Candidate>& queues);
    static std::vector<QueueOffset> cut_to(const std::vector<Candidate>& queues,
                                           std::uint64_t bytes,
                                           std::uint64_t bytes_max);
    void forget_bytes(const std::string& topic, const Candidate& queue, QueueOffset to);

    Store::Parts& parts_;
    std::int64_t version_ = -1;  ///< of the topics the rules were read from
    std::map<std::string, Rules, std::less<>> rules_;
    std::map<std::string, std::map<std::int32_t, Counted>> counted_;
};

}  // namespace gantry::storage
