// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/wire/record.h"
#include "storage/store.h"

#include <string>
#include <string_view>

namespace gantry::broker {

struct Context;
class LoopState;
class TopicCreator;

/// Stores half messages and turns them into messages. A half message is RocketMQ's: a record of
/// RMQ_SYS_TRANS_HALF_TOPIC that carries where it is really to go; no consumer sees it.
///
///   store_half --> half --> commit    the message in its real queue (or delay level)
///                       \-> roll_back nothing
///                       \-> give_up   the message in TRANS_CHECK_MAX_TIME_TOPIC
///
/// Each of the three ends the transaction with one record of the log: storage::Transactions.
///
/// Threads   any loop; what is not in memory is read in the pool.
/// Errors    kNotFound of commit, roll_back and give_up: the transaction ended before.
///           kGone of commit: the real topic is not there; the transaction stays open.
/// Lifetime  outlives its loops' last pass.
class TransactionService {
public:
    using WithHalf = UniqueFunction<void(Result<Bytes>)>;

    TransactionService(Context& context, TopicCreator& creator)
        : context_(context), creator_(creator) {}

    /// Makes the topic of half messages. Before the loops run.
    Status open(LoopState& loop);

    /// Stores `message`, which is addressed to its real queue, as a half message of `group`, unless
    /// a property of it names one. kBusy: transaction.open_max. kRefused: that is no name of a
    /// group, which nobody could be asked by.
    Result<storage::Appended> store_half(LoopState& loop,
                                         const wire::Record& message,
                                         std::string_view group);

    /// Calls `then` on this loop with the stored half message: now when it is in memory, else
    /// later. kCorrupt, kNotFound: it is damaged or gone. kBusy.
    void with_half(LoopState& loop, const storage::OpenTransaction& transaction, WithHalf then);

    /// The end of what has to be durable for each to be sure.
    Result<LogOffset> commit(LoopState& loop, Bytes half);
    Result<LogOffset> roll_back(LoopState& loop, LogOffset half);
    Result<LogOffset> give_up(LoopState& loop, Bytes half, std::int32_t asked);

    /// The half message under its real topic and queue, as producers are shown it when they are
    /// asked for the `asked`th time.
    static Result<std::string> as_asked(Bytes half, std::int32_t asked);

    /// What became of a transaction that is not open any more.
    enum class Outcome { kCommitted, kNotCommitted, kUnknown };

    /// Looks for the message, which lies below `ended` if it is there at all. kNotFound: there is
    /// no half message of `group` at that log offset. kBusy: readers do not see that far yet.
    /// Blocks on the disk.
    Result<Outcome> outcome_of(LogOffset half, std::string_view group, LogOffset ended) const;

    /// Opens a transaction that was given up anew: the message at that log offset of
    /// TRANS_CHECK_MAX_TIME_TOPIC becomes a half message that producers are asked about from the
    /// start. The end of what has to be durable; done before: 0. kNotFound: there is no such
    /// message. kBusy: transaction.open_max, or what was resumed last is not durable yet. Blocks
    /// on the disk; not on a loop.
    Result<LogOffset> resume(LogOffset undecided);

    storage::Queue& half_queue() noexcept { return *half_queue_; }

private:
    Result<storage::Appended> open_half(const wire::Record& half);
    bool is_followed(const wire::Record& record, LogOffset at, std::string_view topic) const;
    Result<storage::Queue*> real_queue(const wire::Record& half) const;

    Context& context_;
    TopicCreator& creator_;
    storage::Queue* half_queue_ = nullptr;
    Mutex resuming_;  ///< so that of two that resume the same one finds the other's
    LogOffset resumed_ GANTRY_GUARDED_BY(resuming_);  ///< the end of the last half resumed
};

}  // namespace gantry::broker
