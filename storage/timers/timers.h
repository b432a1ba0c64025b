// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/store.h"
#include "storage/timers/timer_slots.h"
#include "storage/timers/timer_table.h"
#include "storage/types.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Where delayed messages wait, unseen by consumers. RocketMQ's name.
inline constexpr std::string_view kTimerTopic = "rmq_sys_wheel_timer";
/// Whose offset there holds the log for those that wait.
inline constexpr std::string_view kTimerGroup = "GANTRY_SYS_DELAY";

/// Messages of one queue that are due, in the order of their entries.
struct TimerBatch {
    Queue* queue = nullptr;
    std::vector<wire::Record> records;
    std::vector<TimerEntry> timers;  ///< of each record
};

/// Delayed messages, as records of the log. One that waits is a record of kTimerTopic with its due
/// time in TIMER_OUT_MS; its unit in the consume queue has that too, so that the index of due
/// times is made without reading the log. The message that is delivered names the log offset of
/// the record that waited: this one record both shows it to consumers and ends its waiting. So
/// there is no moment at which a stop could deliver it twice, or not at all.
///
///   open -> fold -> prepare -> due -> deliver -> finish, again and again
///                                  -> commit, now and then: how far it came
///
/// Rounds    a round delivers everything due by then that was folded before, tick by tick, in the
///           order of the log within a tick; so one position says what of it is done. What was
///           delivered behind the last position that was logged is known from the log. A start
///           first ends the tick that was at work.
/// Rolling   a record that waited long is stored again, so that the log need not be kept for it.
/// Threads   append, cancel, table, waiting, scan: any. The rest: one, it blocks on the disk.
/// Errors    of append and of TimerSlots. After kCorrupt: open() again.
/// Lifetime  `parts` outlives it.
class Timers {
public:
    /// Of the waiting records of what due() returns, and one more.
    static constexpr std::int64_t kDueBytes = 4 << 20;
    /// Delivered before the progress is logged, at most, and one chunk more.
    static constexpr std::size_t kUnloggedMax = 8'192;

    explicit Timers(Store::Parts& parts);
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;

    /// Stores messages that wait, rewritten for the queue of kTimerTopic, in one step. A first one
    /// that is numbered makes them a numbered send to `real`, as Store::append_records has it.
    Result<Appended> append(Queue& wheel, const Queue& real, std::span<const wire::Record> waiting);

    /// Makes the index anew; what is due before `now` comes out first, in the order it was stored.
    Status open(Queue& wheel, WallMs now);
    /// Takes at most `units_max` new waiting messages into the index. True: there are more.
    Result<bool> fold(std::size_t units_max);
    /// Brings what is near `now` closer, at most `entries_max` entries. True: there is more.
    Result<bool> prepare(WallMs now, std::size_t entries_max);
    /// At most `count_max` messages that are due and wait; none: nothing is due. Those before must
    /// be finished.
    Result<std::vector<TimerEntry>> due(WallMs now, std::size_t count_max);
    /// Calls `each` with the waiting record of every entry, views valid in the call, or with why
    /// there is none.
    void read(std::span<const TimerEntry> timers,
              const std::function<void(const TimerEntry&, const Result<wire::Record>&)>& each);
    /// Stores messages in their queues, without those that wait no longer; may be repeated after
    /// an error. Returns how many; `dropped` counts those that the store refuses.
    Result<std::size_t> deliver(std::span<TimerBatch> batches, std::uint64_t& dropped);
    /// What due() returned last is done.
    void finish();
    /// Logs how far it came, and from where the log must stay.
    Status commit();
    /// Stores again what waited since before `stored_before`, a piece of it. True: there may be
    /// more.
    Result<bool> roll(WallMs stored_before);

    /// Whether messages wait that fold() has not seen.
    bool has_unfolded() const noexcept { return wheel_->max() > folded_; }

    /// Whether the index had better be made anew: most of it is of records stored again.
    bool is_stale() const noexcept;

    bool has_unlogged() const noexcept { return unlogged_ > 0; }

    /// When there is something to do; TimerSlots::kNever: nothing waits.
    WallMs next_event() const noexcept;

    /// Takes a message back; returns the end of the log that has it. kGone: it waits no longer.
    /// kBusy: `cancelled_max` are cancelled and not due yet.
    Result<LogOffset> cancel(const TimerEntry& timer, std::size_t cancelled_max);

    /// Calls `each` for messages that wait, in the order they were stored, from queue offset
    /// `from` on, until it returns false or `units_max` were looked at. Returns where to go on; -1:
    /// there are no more.
    std::int64_t scan(std::int64_t from,
                      std::size_t units_max,
                      const std::function<bool(const TimerEntry&)>& each) const;

    /// How many wait, about.
    std::int64_t waiting() const noexcept;

    const TimerTable& table() const noexcept;

private:
    struct Round {
        WallMs from = 0;   ///< ticks before it count as it
        WallMs until = 0;  ///< ticks below
        LogOffset known;   ///< stored below
        WallMs tick = 0;   ///< done up to and including this one
        LogOffset at;
        bool is_active = false;
        bool is_resumed = false;  ///< it was under way when the broker stopped
    };

    void resume(const wire::TimerProgress& progress);
    WallMs place_of(const TimerEntry& timer) const noexcept;
    bool begin_round(WallMs now);
    void end_round();
    Result<std::size_t> deliver_batch(TimerBatch& batch, std::uint64_t& dropped);
    void advance_hold();
    Result<bool> collect_old(WallMs stored_before, std::vector<TimerEntry>& old);
    Status store_again(std::span<const TimerEntry> old);

    Store::Parts& parts_;
    TimerSlots slots_;
    Queue* wheel_ = nullptr;
    QueueOffset folded_;      ///< of the wheel's queue
    LogOffset folded_log_;    ///< waiting records below it are in the index
    bool is_folded_ = false;  ///< once, since open
    WallMs floor_ = 0;        ///< no round begins with a tick below
    WallMs done_before_ = 0;  ///< ticks below are done, of what is stored below done_known_
    LogOffset done_known_;
    Round round_;
    wire::TimerProgress::Earlier earlier_ = wire::TimerProgress::KEEP;  ///< of the next commit
    std::size_t chunk_ = 0;  ///< entries of the tick at work that due() has looked at
    TimerEntry chunk_end_;
    QueueOffset hold_;  ///< nothing waits below
    QueueOffset hold_logged_;
    LogOffset rolled_;
    std::size_t unlogged_ = 0;
    std::atomic<std::int64_t> dead_{0};  ///< entries of records that were stored again
    std::vector<std::byte> window_;
    std::atomic<std::int64_t> size_{0};
};

}  // namespace gantry::storage
