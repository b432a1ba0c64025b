// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace gantry::storage {

/// Messages [from, end) of a queue.
struct OffsetSpan {
    QueueOffset from;
    QueueOffset end;

    bool operator==(const OffsetSpan&) const = default;

    std::int64_t count() const noexcept { return end - from; }
};

/// Messages that one consumer owns: nobody else gets them before `until_ms`, and whoever shows
/// `pop_ms` may end that.
struct PopLease {
    OffsetSpan span;
    WallMs until_ms = 0;
    WallMs pop_ms = 0;            ///< when it was handed out: the receipt
    std::int32_t deliveries = 0;  ///< so far, this one included

    bool operator==(const PopLease&) const = default;
};

/// What a group that pops a queue has done with it. Kept by runs of messages, not by message:
///
///   0          committed                          next            max
///   o--------------o====----====-----------========o---------------o
///   | all done     | leased, or done in between    | never handed out
///
/// A message is in one lease at most. A lease whose time is over still belongs to its receipt,
/// until it is handed out again.
///
/// Units     times are wall clock ms, as the owner of the queue counts them. About 120 B of memory
///           a lease, 64 B a run of messages done since the last change was written.
/// Threads   one at a time: see PopTable.
class PopQueue {
public:
    static constexpr WallMs kNever = INT64_MAX;

    /// A queue of which everything below `next` is done. `life` tells it from others of its name.
    PopQueue(QueueOffset next, std::uint64_t life) : next_(next), life_(life) {}

    QueueOffset next() const noexcept { return next_; }

    /// Everything below it is done.
    QueueOffset committed() const noexcept {
        return leases_.empty() ? next_ : leases_.begin()->first;
    }

    std::uint64_t life() const noexcept { return life_; }

    /// The highest receipt so far; those of an earlier life included.
    WallMs last_receipt() const noexcept { return std::max(last_receipt_, receipts_after_); }

    /// Receipts of this life are above it, so that those of an earlier one are void.
    WallMs receipts_after() const noexcept { return receipts_after_; }

    void set_receipts_after(WallMs pop_ms) noexcept { receipts_after_ = pop_ms; }

    std::size_t lease_count() const noexcept { return leases_.size(); }

    /// Messages in leases.
    std::int64_t in_flight() const noexcept { return in_flight_; }

    /// When the first lease is over; kNever: there is none.
    WallMs next_due() const noexcept { return due_.empty() ? kNever : due_.begin()->first; }

    /// The lease that was over first, and those right behind it that are over by `now` too and were
    /// delivered as often: at most `count_max` messages, under the first one's receipt.
    std::optional<PopLease> due(WallMs now, std::int64_t count_max) const;
    /// What of `span` is over by `now` and was delivered that often: less than due() said when its
    /// owners acknowledged or renewed some of it since.
    std::vector<OffsetSpan> due_within(OffsetSpan span, WallMs now, std::int32_t deliveries) const;
    /// Every lease, by offset.
    std::vector<PopLease> leases() const;

    /// Whose turn it is: while one reads to hand out, no other does.
    bool is_reading() const noexcept { return is_reading_; }

    void set_reading(bool is_reading) noexcept { is_reading_ = is_reading; }

    /// Everything below `next` was handed out before or is done now. Below an earlier one: nothing.
    void pass_to(QueueOffset next);
    /// Leases the messages, whoever had them.
    void hand_out(const PopLease& lease);
    /// Ends what the receipt stands for in `span`. How many messages that were.
    std::int64_t acknowledge(OffsetSpan span, WallMs pop_ms);
    /// Ends what is in `span`, whoever has it.
    void finish(OffsetSpan span);

    /// The new terms of messages that their owner keeps.
    struct Terms {
        WallMs until_ms = 0;
        WallMs pop_ms = 0;             ///< the receipt from now on
        std::int32_t undelivered = 0;  ///< deliveries that did not take place
    };

    /// Changes the terms of what the receipt stands for in `span`. How many messages that were.
    std::int64_t renew(OffsetSpan span, WallMs pop_ms, const Terms& terms);

    /// Whether something changed since the last write.
    bool has_changes() const noexcept { return is_new_ || is_moved_ || has_leases_to_write(); }

    /// Whether a lease did, which must be written before anybody hears of it; or the queue is new.
    bool has_leases_to_write() const noexcept { return is_new_ || is_whole_ || !fresh_.empty(); }

    /// Describes the changes, all but group, topic and queue, and counts them as written.
    void write_changes(wire::PopPut& put);
    /// Nothing has changed since the last write.
    void written() noexcept;
    /// The last changes did not get written: the next ones will say everything.
    void write_failed() noexcept;
    /// Describes everything.
    void write_whole(wire::PopPut& put) const;
    /// Takes what was written. It is legal: see check_pop.
    void apply(const wire::PopPut& put);

private:
    struct Lease {
        QueueOffset end;
        WallMs until_ms = 0;
        WallMs pop_ms = 0;
        std::int32_t deliveries = 0;
    };

    using Leases = std::map<QueueOffset, Lease>;

    template <class Takes>
    std::vector<PopLease> take_out(OffsetSpan span, Takes takes);
    Leases::iterator erase(Leases::iterator at);
    void insert(const PopLease& lease);
    void note_lease(const PopLease& lease);
    void note_done(OffsetSpan span);

    static constexpr std::size_t kFreshMax = 4'096;  ///< more changes than that: write all

    QueueOffset next_;
    std::uint64_t life_;
    Leases leases_;
    std::set<std::pair<WallMs, QueueOffset>> due_;
    std::int64_t in_flight_ = 0;
    WallMs last_receipt_ = 0;
    WallMs receipts_after_ = 0;
    bool is_reading_ = false;

    // Since the last write.
    std::vector<PopLease> fresh_;
    std::map<QueueOffset, QueueOffset> done_;  ///< runs, from to end
    bool is_new_ = true;
    bool is_moved_ = false;
    bool is_whole_ = false;
};

/// kRefused: names the field, its value and the limit.
Status check_pop(const wire::PopPut& put);

}  // namespace gantry::storage
