// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/wire/record.h"
#include "protocol/wire/state.pb.h"
#include "storage/order/order_table.h"
#include "storage/producers/producer_table.h"
#include "storage/replica/epochs.h"
#include "storage/timers/timer_table.h"
#include "storage/transaction/transaction_table.h"
#include "storage/types.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::storage {

/// Topics, groups, committed offsets, open transactions, what is popped and who may consume queues
/// in order: a fold over the records of the state topic in the log.
///
///   commit(changes) -> one record in the log -> applied to memory -> Appended (ack when durable)
///
/// Threads   any; one mutex inside.
/// Errors    commit: what append gives (kDiskFull, kReadOnly, kClosed); then nothing was applied.
///           kRefused: an illegal change (queue numbers, perm), names field, value and limit.
/// Limits    queue numbers 1..65536 a topic (0 allowed for one of read/write); perm 0..7; offsets
///           0 or more, also below an earlier one; names of 1 to 255 B, else checked by the broker.
/// Deletion  a topic takes its queues, committed offsets, limits, locks and what is popped of it
///           with it, a group its offsets, limits, locks and what it pops.
class StateMachine {
public:
    StateMachine() = default;
    StateMachine(const StateMachine&) = delete;
    StateMachine& operator=(const StateMachine&) = delete;
    virtual ~StateMachine() = default;

    /// Logs and applies the changes, all or none.
    virtual Result<Appended> commit(const wire::StateRecord& changes) = 0;

    /// The topic's definition, nothing when there is none of that name.
    virtual std::optional<wire::TopicConfig> topic(std::string_view name) const = 0;
    virtual std::vector<wire::TopicConfig> topics() const = 0;
    virtual wire::DataVersion topic_version() const = 0;
    /// The group's definition, nothing when there is none of that name.
    virtual std::optional<wire::SubscriptionGroupConfig> group(std::string_view name) const = 0;
    virtual std::vector<wire::SubscriptionGroupConfig> groups() const = 0;
    /// The committed offset, nothing when never committed.
    virtual std::optional<std::int64_t> offset(std::string_view group,
                                               std::string_view topic,
                                               std::int32_t queue_id) const = 0;
    virtual std::vector<wire::OffsetPut> offsets_of_group(std::string_view group) const = 0;
    virtual std::vector<wire::OffsetPut> offsets_of_topic(std::string_view topic) const = 0;
    /// The end of the last change that was logged: where that is durable, all there is in memory
    /// is, but for acknowledgements of what was popped, which are logged later. What is answered
    /// from memory waits for it, where it must not be undone by a power cut.
    virtual LogOffset folded() const = 0;
    /// Who may consume queues in order, and what is parked.
    virtual const OrderTable& order() const = 0;
    /// Limits of rates that were set, by scope and name.
    virtual std::vector<wire::FlowLimit> flow_limits() const = 0;
};

class PopTable;
class TopicTable;

/// A record of the state topic as found in the log.
struct LoggedChange {
    Bytes body;  ///< StateRecord
    LogOffset at;
    LogOffset end;
    QueueOffset queue_offset;
    WallMs store_ms = 0;
};

/// The state machine over a log.
///
///   start-up:  load_snapshot -> restore -> replay (records of the state topic in log order)
///   running:   commit: seal deleted topics -> append -> apply, one commit at a time
///   follower:  in_order: replay what the leader has logged
///   then:      snapshot -> save_snapshot, after the log is synced up to its offset
///
/// Replay    gives the same state as the live run: commits are applied in log order, and every
///           record of a deleted topic lies before the record of its deletion.
/// Threads   commit, queries, snapshot: any. restore: one thread, before the first commit; replay:
///           the same, or within in_order.
/// Lifetime  `topics` and what `append` captures outlive it.
class LogStateMachine final : public StateMachine {
public:
    /// Appends one record with this body to queue 0 of kStateTopic.
    using Append = UniqueFunction<Result<Appended>(std::string body)>;

    /// `append` may be set later, before the first commit.
    explicit LogStateMachine(TopicTable& topics, Append append = {});
    ~LogStateMachine() override;

    /// Gives it the log to commit to, before the first commit.
    void set_append(Append append);

    /// Changes are refused with kReadOnly and this reason, before anything is touched; empty: they
    /// are taken.
    void set_read_only(std::string why);

    /// Takes a loaded snapshot as the start. kCorrupt: it holds an illegal topic or offset.
    Status restore(const wire::StateSnapshot& snapshot);

    /// Folds a record of the state topic in; skips the fold when it lies below the restored
    /// snapshot's log offset. `drop_queues`: a deletion drops the topic's consume queues; pass
    /// whether the record is at or above the log offset from which consume queues are replayed
    /// (queues as of there have seen the earlier ones). kCorrupt: the body does not parse.
    Status replay(const LoggedChange& logged, bool drop_queues);

    /// Folds a record of another topic in that opens or ends a transaction, or ends the waiting of
    /// a delayed message: see transactions.h, timers.h. Others change nothing, and none below the
    /// restored snapshot's log offset does.
    void replay_transaction(const wire::Record& record, LogOffset at);

    /// The state, with its log offset: every commit below that is in, none above. `published`
    /// returns the published end of the log, from which consume queues and key index may then be
    /// replayed; it is called while no commit is half done. Sync the log up to durable_end() of it
    /// before saving it.
    wire::StateSnapshot snapshot(const std::function<LogOffset()>& published) const;

    Result<Appended> commit(const wire::StateRecord& changes) override;
    /// As commit, unless `may`, called while no commit is under way, has an error.
    Result<Appended> commit_if(const wire::StateRecord& changes,
                               const std::function<Status()>& may);
    /// Runs `append`, which appends something to the log and changes transactions() accordingly,
    /// in the order of commits: a snapshot has both or neither.
    Result<Appended> commit_in_order(const std::function<Result<Appended>()>& append);

    /// Runs `step`, which replays records and publishes them: a snapshot has all of it or nothing.
    Status in_order(const std::function<Status()>& step);

    /// Logs the changes of pops() that `take` returns, called while no commit is under way; none:
    /// nothing. They are in memory already, and the committed offsets follow them.
    Result<Appended> commit_pops(const std::function<wire::StateRecord()>& take);

    TransactionTable& transactions() noexcept { return transactions_; }

    const TransactionTable& transactions() const noexcept { return transactions_; }

    TimerTable& timers() noexcept { return timers_; }

    const TimerTable& timers() const noexcept { return timers_; }

    ProducerTable& producers() noexcept { return producers_; }

    PopTable& pops() noexcept { return *pops_; }

    const PopTable& pops() const noexcept { return *pops_; }

    std::optional<wire::TopicConfig> topic(std::string_view name) const override;
    std::vector<wire::TopicConfig> topics() const override;
    wire::DataVersion topic_version() const override;
    std::optional<wire::SubscriptionGroupConfig> group(std::string_view name) const override;
    std::vector<wire::SubscriptionGroupConfig> groups() const override;
    std::optional<std::int64_t> offset(std::string_view group,
                                       std::string_view topic,
                                       std::int32_t queue_id) const override;
    std::vector<wire::OffsetPut> offsets_of_group(std::string_view group) const override;
    std::vector<wire::OffsetPut> offsets_of_topic(std::string_view topic) const override;
    std::vector<wire::FlowLimit> flow_limits() const override;

    LogOffset folded() const override;
    /// Whose terms the log's bytes are of.
    EpochList epochs() const;

    const OrderTable& order() const override { return order_; }

private:
    struct State;

    void apply(const wire::StateRecord& changes, const Appended& logged, bool drop_queues);
    void apply_one(const wire::StateChange& change, const Appended& logged, bool drop_queues)
        GANTRY_REQUIRES(mutex_);
    Status may_commit() const GANTRY_REQUIRES(commit_mutex_);
    void remove_topic(const std::string& name, bool drop_queues) GANTRY_REQUIRES(mutex_);
    void remove_group(const std::string& name) GANTRY_REQUIRES(mutex_);

    TopicTable& topics_;
    TransactionTable transactions_;
    TimerTable timers_;
    OrderTable order_;
    mutable ProducerTable producers_;  ///< locks inside; a snapshot forgets what is over
    const std::unique_ptr<PopTable> pops_;
    mutable Mutex commit_mutex_;  ///< order of commits = order of the log; before mutex_
    Append append_ GANTRY_GUARDED_BY(commit_mutex_);
    std::string read_only_ GANTRY_GUARDED_BY(commit_mutex_);
    mutable Mutex mutex_;
    std::unique_ptr<State> state_;
};

/// How far the log must be durable before a snapshot may be saved.
LogOffset durable_end(const wire::StateSnapshot& snapshot) noexcept;

}  // namespace gantry::storage
