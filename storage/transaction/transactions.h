// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/transaction/transaction_table.h"
#include "storage/types.h"

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace gantry::storage {

class LogStateMachine;

/// Where half messages wait, unseen by consumers, and where those go that nobody decided.
inline constexpr std::string_view kHalfTopic = "RMQ_SYS_TRANS_HALF_TOPIC";
inline constexpr std::string_view kUndecidedTopic = "TRANS_CHECK_MAX_TIME_TOPIC";

/// What a half message at that place opens: its group and times are in its properties.
OpenTransaction transaction_of(const wire::Record& half);

/// Transactions, as records of the log. A transaction is committed by the message itself: the
/// record in its real queue names the half message's log offset, and this one record both shows the
/// message to consumers and ends the transaction. So there is no moment at which a crash could
/// leave one without the other, and no second commit.
///
///   open     -> half message in kHalfTopic                      transaction is open
///   end_with -> message, preparedTransactionOffset = the half   over
///   end      -> TransactionEnd in the state topic               over, no message
///
/// Threads   any. Each append and what it means to the table are one step for snapshots.
/// Errors    of append: nothing was changed then. kNotFound: no such transaction is open, it ended
///           before or never was.
/// Lifetime  `state` and what `append` captures outlive it.
class Transactions {
public:
    using Append = std::function<Result<Appended>(Queue&, const wire::Record&)>;

    Transactions(LogStateMachine& state, Append append)
        : state_(state), append_(std::move(append)) {}

    /// Stores `half` in `queue`, a queue of kHalfTopic. kBusy: `open_max` are open.
    Result<Appended> open(Queue& queue, const wire::Record& half, std::size_t open_max);
    /// Stores `message`, which ends the transaction; its preparedTransactionOffset is set here.
    Result<Appended> end_with(LogOffset half, Queue& queue, const wire::Record& message);
    /// Ends the transaction without a message.
    Result<Appended> end(LogOffset half);
    /// Logs that producers were asked for the outcome of these, which may have ended meanwhile.
    Result<Appended> asked(std::span<const LogOffset> halves);

    /// The end of the record behind the last change there was: what table() says is durable when
    /// the log is up to there.
    LogOffset logged() const;

    /// What is open.
    TransactionTable& table() noexcept;
    /// The same.
    const TransactionTable& table() const noexcept;

private:
    LogStateMachine& state_;
    Append append_;
};

}  // namespace gantry::storage
