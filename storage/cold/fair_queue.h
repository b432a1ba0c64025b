// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/cold/cold_pace.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
/// Groups that read the same place of the log one after the other read it once, those that have
/// drifted apart read it again and again. So a group lets those that are a little behind it go
/// first, kYieldsMax times in a row, until they are together.
///
/// Units     positions are bytes of the log.
/// Threads   one at a time. Limits: one entry per group that has work waiting, under way or owed.
template <class Work>
class FairQueue {
public:
    /// A little.
    static constexpr std::int64_t kNearBytes = std::int64_t{512} << 20U;
    static constexpr std::uint32_t kYieldsMax = 3;
    /// Groups looked at for one that is behind.
    static constexpr std::size_t kLookMax = 32;
    static constexpr std::int64_t kSomewhere = -1;

    /// `group_bytes_per_second`: of each group; 0: no limit.
    explicit FairQueue(std::uint64_t group_bytes_per_second) noexcept
        : rate_(group_bytes_per_second) {}

    /// Adds a piece behind those of its group. `at`: where it will read; kSomewhere: not known.
    void push(const std::string& group, Work work, std::int64_t at = kSomewhere) {
        auto [entry, is_new] = groups_.try_emplace(group);
        if (is_new) {
            entry->second.bucket.set_rate(rate_);
            turns_.push_back(group);
        }
        entry->second.waiting.push_back({std::move(work), at});
        ++size_;
    }

    /// The next piece of the next group whose turn it is; its group is under way until finish().
    std::optional<Work> pop(SteadyTime now) {
        for (auto turn = turns_.begin(); turn != turns_.end();) {
            Group& group = groups_.at(*turn);
            if (group.is_ready(now)) {
                return take(behind(turn, now));
            }
            turn = group.is_idle(now) ? forget(turn) : std::next(turn);
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
            for (Piece& piece : group.waiting) {
                all.push_back(std::move(piece.work));
            }
            group.waiting.clear();
        }
        size_ = 0;
        return all;
    }

private:
    struct Piece {
        Work work;
        std::int64_t at = kSomewhere;
    };

    struct Group {
        std::deque<Piece> waiting;
        TokenBucket bucket;
        std::uint32_t under_way = 0;
        std::uint32_t yields = 0;  ///< turns it gave up in a row

        bool is_ready(SteadyTime now) { return !waiting.empty() && bucket.is_open(now); }

        bool is_idle(SteadyTime now) {
            return waiting.empty() && under_way == 0 && bucket.is_open(now);
        }
    };

    using Turns = std::list<std::string>;

    /// Whom the group whose turn it is lets go first: itself, or the one farthest behind it.
    Turns::iterator behind(Turns::iterator turn, SteadyTime now) {
        Group& first = groups_.at(*turn);
        const std::int64_t at = first.waiting.front().at;
        auto best = turn;
        std::int64_t best_at = first.yields < kYieldsMax ? at : kSomewhere;
        std::size_t looked = 0;
        for (auto other = turn; other != turns_.end() && looked < kLookMax; ++other, ++looked) {
            Group& group = groups_.at(*other);
            const std::int64_t there = group.is_ready(now) ? group.waiting.front().at : kSomewhere;
            if (there != kSomewhere && there < best_at && at - there <= kNearBytes) {
                best = other;
                best_at = there;
            }
        }
        first.yields = best == turn ? 0 : first.yields + 1;
        return best;
    }

    Work take(Turns::iterator turn) {
        Group& group = groups_.at(*turn);
        Work work = std::move(group.waiting.front().work);
        group.waiting.pop_front();
        ++group.under_way;
        --size_;
        turns_.splice(turns_.end(), turns_, turn);
        return work;
    }

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
