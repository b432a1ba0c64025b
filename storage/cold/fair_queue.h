// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/cold/cold_pace.h"

#include <algorithm>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace gantry::storage {

/// Work of several groups, handed out by turns: one piece of each group that has some and whose
/// rate allows it, then the next of each. Within a group in the order given.
///
/// Threads   one at a time. Limits: one entry per group that has work waiting, under way or owed.
template <class Work>
class FairQueue {
public:
    /// `group_bytes_per_second`: of each group; 0: no limit.
    explicit FairQueue(std::uint64_t group_bytes_per_second) noexcept
        : rate_(group_bytes_per_second) {}

    /// Adds a piece behind those of its group.
    void push(const std::string& group, Work work) {
        auto [at, is_new] = groups_.try_emplace(group);
        if (is_new) {
            at->second.bucket.set_rate(rate_);
            turns_.push_back(group);
        }
        at->second.waiting.push_back(std::move(work));
        ++size_;
    }

    /// The next piece of the next group whose turn it is; its group is under way until finish().
    std::optional<Work> pop(SteadyTime now) {
        for (auto turn = turns_.begin(); turn != turns_.end();) {
            Group& group = groups_.at(*turn);
            if (group.waiting.empty() || !group.bucket.is_open(now)) {
                turn = group.is_idle(now) ? forget(turn) : std::next(turn);
                continue;
            }
            Work work = std::move(group.waiting.front());
            group.waiting.pop_front();
            ++group.under_way;
            --size_;
            turns_.splice(turns_.end(), turns_, turn);
            return work;
        }
        return std::nullopt;
    }

    /// A piece that was popped is done and brought the group `bytes`.
    void finish(const std::string& group, std::uint64_t bytes, SteadyTime now) {
        Group& of = groups_.at(group);
        --of.under_way;
        of.bucket.take(bytes, now);
    }

    /// When pop() next has something, if nothing changes; nothing when it has to be told.
    std::optional<SteadyTime> next_at(SteadyTime now) {
        std::optional<SteadyTime> first;
        for (auto& [name, group] : groups_) {
            if (!group.waiting.empty()) {
                const SteadyTime at = group.bucket.opens_at(now);
                first = first ? std::min(*first, at) : at;
            }
        }
        return first;
    }

    std::size_t size() const noexcept { return size_; }

    /// Everything that waits, in no particular order.
    std::deque<Work> take_all() {
        std::deque<Work> all;
        for (auto& [name, group] : groups_) {
            std::move(group.waiting.begin(), group.waiting.end(), std::back_inserter(all));
            group.waiting.clear();
        }
        size_ = 0;
        return all;
    }

private:
    struct Group {
        std::deque<Work> waiting;
        TokenBucket bucket;
        std::uint32_t under_way = 0;

        bool is_idle(SteadyTime now) {
            return waiting.empty() && under_way == 0 && bucket.is_open(now);
        }
    };

    using Turns = std::list<std::string>;

    Turns::iterator forget(Turns::iterator turn) {
        groups_.erase(*turn);
        return turns_.erase(turn);
    }

    const std::uint64_t rate_;
    std::unordered_map<std::string, Group> groups_;
    Turns turns_;  ///< the next one first
    std::size_t size_ = 0;
};

}  // namespace gantry::storage
