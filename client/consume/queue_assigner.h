// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/fetcher.h"
#include "client/consume/group_membership.h"
#include "client/consume/offsets.h"
#include "client/consume/queue_buffers.h"
#include "client/consume/selector_check.h"
#include "client/consumer.h"
#include "client/share/share_holder.h"
#include "common/mutex.h"
#include "common/result.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace gantry::client {

class LocalOffsets;
class LoopSlot;
class Runtime;

/// Keeps what is read (QueueBuffers) in step with what the group gives this member: finds the
/// start offset of a new queue, drops a lost one.
///
/// Threads   any.
/// Errors    a start offset that no broker tells is asked for again every second; the queue is not
///           read until then, and never from a guess.
class QueueAssigner final : public ShareHolder, public std::enable_shared_from_this<QueueAssigner> {
public:
    /// Told before a queue that is lost is dropped; in the control loop.
    using OnLost = std::function<void(const QueueId& queue)>;
    /// Whether a queue may be given back; after it said yes, the queue is.
    using MayRelease = std::function<bool(const QueueId& queue)>;

    /// What all queues have in common.
    struct Options {
        std::string group;
        StartFrom start_from;
        bool is_push = false;
        Sharing sharing;
        std::shared_ptr<LocalOffsets> local;  ///< of a broadcast consumer; null: the group's
        FetchOptions fetch;                   ///< group, selector and version are filled in here
        OnLost on_lost;
        MayRelease may_release;  ///< of a push consumer
        std::chrono::milliseconds hand_over_limit{30'000};
    };

    QueueAssigner(Runtime& runtime,
                  LoopSlot& slot,
                  std::shared_ptr<QueueBuffers> buffers,
                  Options options);
    ~QueueAssigner() override;
    QueueAssigner(const QueueAssigner&) = delete;
    QueueAssigner& operator=(const QueueAssigner&) = delete;

    /// Joins the group with these topics, in place of what was joined before. kConflict: the group
    /// has another member in this client.
    Status join(std::map<std::string, Subscription> subscriptions);
    /// Leaves the group, waits for the brokers to know (at most 3 s), and drops the queues.
    void leave();

    /// Takes these queues, whoever else has them, and drops others. Waits for the start offsets.
    /// A queue that is read already keeps its selector.
    Status assign(const std::set<QueueId>& queues, const Subscription& wanted);

    /// Tokens of the grants under which queues are read; of those read without one, none.
    std::map<QueueId, std::int64_t> tokens() const;

    void on_granted(const QueueId& queue, std::int64_t token) override;
    void begin_release(const QueueId& queue) override;
    std::optional<std::int64_t> end_release(const QueueId& queue, bool by_force) override;
    void on_lease(const std::string& broker, SteadyTime until) override;

private:
    void on_assignment(const std::set<QueueId>& queues);
    void find_start(const QueueId& queue, std::uint64_t generation);
    void started(const QueueId& queue,
                 std::uint64_t generation,
                 const Result<std::int64_t>& offset);
    void read_subscribed(const QueueId& queue, std::int64_t offset);
    void read(const QueueId& queue, std::int64_t offset, const Subscription& wanted);
    bool is_wanted(const QueueId& queue, std::uint64_t generation) const;

    Runtime& runtime_;
    LoopSlot& slot_;
    const std::shared_ptr<QueueBuffers> buffers_;
    const Options options_;

    mutable Mutex mutex_;
    std::shared_ptr<GroupMembership> membership_ GANTRY_GUARDED_BY(mutex_);
    std::map<std::string, Subscription> subscriptions_ GANTRY_GUARDED_BY(mutex_);
    std::map<QueueId, std::uint64_t> wanted_ GANTRY_GUARDED_BY(mutex_);  // to generation
    std::map<QueueId, std::int64_t> tokens_ GANTRY_GUARDED_BY(mutex_);
    std::set<QueueId> releasing_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t last_generation_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::int64_t version_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace gantry::client
