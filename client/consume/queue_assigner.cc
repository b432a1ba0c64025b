// SPDX-License-Identifier: Apache-2.0
#include "client/consume/queue_assigner.h"

#include "client/consume/local_offsets.h"
#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace gantry::client {
namespace {

constexpr Logger kLog("client");
constexpr std::chrono::milliseconds kRetry{1'000};
/// Every RocketMQ broker has it; one without a name it would make.
constexpr std::string_view kToolsGroup = "TOOLS_CONSUMER";

}  // namespace

QueueAssigner::QueueAssigner(Runtime& runtime,
                             LoopSlot& slot,
                             std::shared_ptr<QueueBuffers> buffers,
                             Options options)
    : runtime_(runtime), slot_(slot), buffers_(std::move(buffers)), options_(std::move(options)) {}

QueueAssigner::~QueueAssigner() = default;

Status QueueAssigner::join(std::map<std::string, Subscription> subscriptions) {
    bool is_first = false;
    {
        const MutexLock lock(mutex_);
        is_first = membership_ == nullptr;
    }
    if (is_first && !runtime_.try_claim_group(options_.group)) {
        return Error{Errc::kConflict,
                     "group " + options_.group +
                         " has a member in this client already: give each a Client of its own"};
    }
    MembershipOptions membership;
    membership.group = options_.group;
    membership.is_push = options_.is_push;
    membership.is_broadcast = options_.local != nullptr;
    membership.sharing = options_.sharing;
    membership.holder = weak_from_this();
    membership.hand_over_limit = options_.hand_over_limit;
    membership.start_from = options_.start_from.kind;
    membership.subscription_version = runtime_.clock().wall_ms();
    for (const auto& [topic, subscription] : subscriptions) {
        membership.subscriptions[topic] = subscription.selector;
    }
    auto joined = std::make_shared<GroupMembership>(
        runtime_, membership, [weak = weak_from_this()](const std::set<QueueId>& queues) {
            if (const std::shared_ptr<QueueAssigner> self = weak.lock(); self != nullptr) {
                self->on_assignment(queues);
            }
        });
    std::shared_ptr<GroupMembership> previous;
    {
        const MutexLock lock(mutex_);
        previous = std::exchange(membership_, joined);
        subscriptions_ = std::move(subscriptions);
        version_ = membership.subscription_version;
    }
    if (previous != nullptr) {
        previous->retire();
    }
    joined->join();
    return ok();
}

void QueueAssigner::leave() {
    std::shared_ptr<GroupMembership> membership;
    {
        const MutexLock lock(mutex_);
        membership = std::exchange(membership_, nullptr);
        wanted_.clear();
    }
    if (membership != nullptr) {
        wait_for<Done>([&membership](auto done) {
            membership->leave([done = std::move(done)]() mutable { done(Done{}); });
        });
        runtime_.release_group(options_.group);
    }
    for (const QueueId& queue : buffers_->queues()) {
        buffers_->remove(queue);
    }
}

void QueueAssigner::on_assignment(const std::set<QueueId>& queues) {
    std::set<QueueId> kept = queues;
    {
        const MutexLock lock(mutex_);
        kept.insert(releasing_.begin(), releasing_.end());
    }
    for (const QueueId& queue : buffers_->queues()) {
        if (kept.count(queue) == 0) {
            if (options_.on_lost) {
                options_.on_lost(queue);
            }
            buffers_->remove(queue);
        }
    }
    std::vector<std::pair<QueueId, std::uint64_t>> added;
    {
        const MutexLock lock(mutex_);
        std::erase_if(wanted_, [&queues](const auto& entry) { return !queues.count(entry.first); });
        std::erase_if(tokens_, [&kept](const auto& entry) { return !kept.count(entry.first); });
        for (const QueueId& queue : queues) {
            if (wanted_.count(queue) == 0) {
                wanted_[queue] = ++last_generation_;
                added.emplace_back(queue, last_generation_);
            }
        }
    }
    for (const auto& [queue, generation] : added) {
        kLog.debug("queue_assigned",
                   {{"group", options_.group}, {"topic", queue.topic}, {"queue", queue.queue}});
        find_start(queue, generation);
    }
}

std::map<QueueId, std::int64_t> QueueAssigner::tokens() const {
    const MutexLock lock(mutex_);
    return tokens_;
}

void QueueAssigner::on_granted(const QueueId& queue, std::int64_t token) {
    const MutexLock lock(mutex_);
    if (token == 0) {
        tokens_.erase(queue);
    } else {
        tokens_[queue] = token;
    }
}

void QueueAssigner::begin_release(const QueueId& queue) {
    {
        const MutexLock lock(mutex_);
        wanted_.erase(queue);  // a start offset that is still to come begins nothing
        releasing_.insert(queue);
    }
    buffers_->drain(queue);
}

std::optional<std::int64_t> QueueAssigner::end_release(const QueueId& queue, bool by_force) {
    const std::optional<std::int64_t> offset = buffers_->drained(queue, by_force);
    if (!offset) {
        return std::nullopt;
    }
    if (options_.may_release && !options_.may_release(queue) && !by_force) {
        return std::nullopt;
    }
    buffers_->remove(queue);
    const MutexLock lock(mutex_);
    releasing_.erase(queue);
    tokens_.erase(queue);
    return offset;
}

void QueueAssigner::on_lease(const std::string& broker, SteadyTime until) {
    buffers_->set_lease(broker, until);
}

bool QueueAssigner::is_wanted(const QueueId& queue, std::uint64_t generation) const {
    const MutexLock lock(mutex_);
    const auto found = wanted_.find(queue);
    return found != wanted_.end() && found->second == generation;
}

void QueueAssigner::find_start(const QueueId& queue, std::uint64_t generation) {
    StartFrom from = options_.start_from;
    if (queue.topic.starts_with(wire::kRetryPrefix)) {
        from.kind = StartFrom::Kind::kFirst;
    }
    const auto known = options_.local != nullptr ? options_.local->find(queue) : std::nullopt;
    if (known) {
        started(queue, generation, *known);
        return;
    }
    Offsets(runtime_, slot_)
        .start(options_.local != nullptr ? std::string() : options_.group,
               queue,
               from,
               [weak = weak_from_this(), queue, generation](const Result<std::int64_t>& offset) {
                   if (const auto self = weak.lock(); self != nullptr) {
                       self->started(queue, generation, offset);
                   }
               });
}

void QueueAssigner::started(const QueueId& queue,
                            std::uint64_t generation,
                            const Result<std::int64_t>& offset) {
    if (!is_wanted(queue, generation)) {
        return;
    }
    if (offset) {
        read_subscribed(queue, *offset);
        return;
    }
    kLog.warn("start_offset_unknown",
              {{"group", options_.group},
               {"topic", queue.topic},
               {"queue", queue.queue},
               {"error", offset.error()}});
    slot_.post_after(kRetry, [weak = weak_from_this(), queue, generation] {
        if (const auto self = weak.lock(); self != nullptr && self->is_wanted(queue, generation)) {
            self->find_start(queue, generation);
        }
    });
}

void QueueAssigner::read_subscribed(const QueueId& queue, std::int64_t offset) {
    Subscription wanted;
    {
        const MutexLock lock(mutex_);
        const auto found = subscriptions_.find(queue.topic);
        if (found != subscriptions_.end()) {
            wanted = found->second;
        }
    }
    read(queue, offset, wanted);
}

void QueueAssigner::read(const QueueId& queue, std::int64_t offset, const Subscription& wanted) {
    FetchOptions fetch = options_.fetch;
    {
        const MutexLock lock(mutex_);
        fetch.subscription_version = version_;
    }
    fetch.selector = wanted.selector;
    const bool is_anonymous = options_.group.empty() && runtime_.is_rocketmq();
    fetch.group = is_anonymous ? std::string(kToolsGroup) : options_.group;
    buffers_->add(queue, fetch, wanted.filter, offset);
}

Status QueueAssigner::assign(const std::set<QueueId>& queues, const Subscription& wanted) {
    std::map<QueueId, std::int64_t> starts;
    Offsets offsets(runtime_, slot_);
    for (const QueueId& queue : queues) {
        if (buffers_->contains(queue)) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const RoutePtr route, runtime_.routes().wait_for(queue.topic));
        if (!std::binary_search(route->read_queues.begin(), route->read_queues.end(), queue)) {
            return Error{Errc::kNotFound,
                         "queue " + std::to_string(queue.queue) + " of topic " + queue.topic +
                             " on broker " + queue.broker + " is not among the readable queues"};
        }
        starts[queue] = 0;
    }
    std::map<QueueId, std::shared_ptr<Awaited<Result<std::int64_t>>>> asked;
    for (const auto& [queue, offset] : starts) {
        auto awaited = std::make_shared<Awaited<Result<std::int64_t>>>();
        asked[queue] = awaited;
        offsets.start(
            options_.group, queue, options_.start_from, [awaited](Result<std::int64_t> found) {
                awaited->set(std::move(found));
            });
    }
    Status status = ok();
    for (const auto& [queue, awaited] : asked) {
        Result<std::int64_t> offset = awaited->wait();
        if (offset) {
            starts[queue] = *offset;
        } else if (status) {
            status = offset.error();
        }
    }
    GANTRY_TRY(status);
    for (const QueueId& queue : buffers_->queues()) {
        if (queues.count(queue) == 0) {
            buffers_->remove(queue);
        }
    }
    for (const auto& [queue, offset] : starts) {
        read(queue, offset, wanted);
    }
    return ok();
}

}  // namespace gantry::client
