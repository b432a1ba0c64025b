// SPDX-License-Identifier: Apache-2.0
#include "client/order/ordered_queues.h"

#include "client/consume/offsets.h"
#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/names.h"

#include <utility>
#include <vector>

namespace gantry::client {
namespace {

constexpr Logger kLog("client");
constexpr std::chrono::milliseconds kRetry{1'000};

}  // namespace

OrderedQueues::OrderedQueues(Runtime& runtime,
                             LoopSlot& slot,
                             const OrderedConsumer::Options& options,
                             std::shared_ptr<QueueLeases> leases)
    : runtime_(runtime), slot_(slot), options_(options), leases_(std::move(leases)) {}

OrderedQueues::~OrderedQueues() = default;

Status OrderedQueues::join(const std::map<std::string, Subscription>& subscriptions,
                           Reader reader) {
    if (!runtime_.try_claim_group(options_.group)) {
        return Error{Errc::kConflict,
                     "group " + options_.group +
                         " has a member in this client already: give each a Client of its own"};
    }
    subscriptions_ = subscriptions;
    version_ = runtime_.clock().wall_ms();
    reader_ = std::move(reader);
    slot_.run_and_wait([this] { start_in_loop(); });
    MembershipOptions membership;
    membership.group = options_.group;
    membership.is_push = true;
    membership.sharing = options_.sharing;
    membership.start_from = options_.start_from.kind;
    membership.subscription_version = version_;
    for (const auto& [topic, subscription] : subscriptions_) {
        membership.subscriptions[topic] = subscription.selector;
    }
    membership_ = std::make_shared<GroupMembership>(
        runtime_, membership, [weak = weak_from_this()](const std::set<QueueId>& queues) {
            const std::shared_ptr<OrderedQueues> self = weak.lock();
            if (self != nullptr) {
                self->slot_.post([self, queues] { self->assigned_in_loop(queues); });
            }
        });
    membership_->join();
    return ok();
}

void OrderedQueues::start_in_loop() {
    leases_->start_in_loop(
        {.on_held =
             [weak = weak_from_this()](const QueueId& queue, std::int64_t token) {
                 if (const auto self = weak.lock(); self != nullptr) {
                     self->held_in_loop(queue, token);
                 }
             },
         .on_lost =
             [weak = weak_from_this()](const QueueId& queue) {
                 if (const auto self = weak.lock(); self != nullptr) {
                     self->lost_in_loop(queue);
                 }
             }});
}

void OrderedQueues::leave() {
    wait_for<Done>([this](auto done) {
        auto shared = std::make_shared<decltype(done)>(std::move(done));
        const bool posted = slot_.post([self = shared_from_this(), shared] {
            self->on_empty_ = [shared] { (*shared)(Done{}); };
            self->assigned_in_loop({});
            self->is_leaving_ = true;
            if (self->entries_.empty() && self->on_empty_) {
                std::exchange(self->on_empty_, {})();
            }
        });
        if (!posted) {
            (*shared)(Done{});
        }
    });
    slot_.run_and_wait([this] { leases_->close_in_loop(); });
    wait_for<Done>([this](auto done) {
        membership_->leave([done = std::move(done)]() mutable { done(Done{}); });
    });
    runtime_.release_group(options_.group);
}

void OrderedQueues::assigned_in_loop(const std::set<QueueId>& queues) {
    if (is_leaving_) {
        return;
    }
    std::vector<QueueId> unassigned;
    for (auto& [queue, entry] : entries_) {
        entry.is_assigned = queues.count(queue) != 0;
        if (!entry.is_assigned) {
            unassigned.push_back(queue);
        }
    }
    for (const QueueId& queue : unassigned) {
        close_in_loop(queue, entries_.at(queue));
    }
    for (const QueueId& queue : queues) {
        if (entries_.count(queue) == 0) {
            begin_in_loop(queue);
        }
    }
}

void OrderedQueues::begin_in_loop(const QueueId& queue) {
    kLog.debug("queue_assigned",
               {{"group", options_.group}, {"topic", queue.topic}, {"queue", queue.queue}});
    entries_[queue] = Entry{.id = ++last_id_};
    leases_->want_in_loop(queue);
}

void OrderedQueues::held_in_loop(const QueueId& queue, std::int64_t token) {
    const auto found = entries_.find(queue);
    if (found != entries_.end() && found->second.phase == Phase::kLocking) {
        found->second.phase = Phase::kStarting;
        found->second.token = token;
        find_start_in_loop(queue, found->second.id);
    }
}

void OrderedQueues::lost_in_loop(const QueueId& queue) {
    const auto found = entries_.find(queue);
    if (found != entries_.end()) {
        close_in_loop(queue, found->second);
    }
}

void OrderedQueues::find_start_in_loop(const QueueId& queue, std::uint64_t id) {
    StartFrom from = options_.start_from;
    if (queue.topic.starts_with(wire::kRetryPrefix)) {
        from.kind = StartFrom::Kind::kFirst;
    }
    Offsets(runtime_, slot_)
        .start(options_.group,
               queue,
               from,
               [self = shared_from_this(), queue, id](const Result<std::int64_t>& offset) {
                   self->started_in_loop(queue, id, offset);
               });
}

void OrderedQueues::started_in_loop(const QueueId& queue,
                                    std::uint64_t id,
                                    const Result<std::int64_t>& offset) {
    const auto found = entries_.find(queue);
    if (found == entries_.end() || found->second.id != id ||
        found->second.phase != Phase::kStarting) {
        return;
    }
    if (offset) {
        const auto subscription = subscriptions_.find(queue.topic);
        found->second.phase = Phase::kOpen;
        reader_.open({queue,
                      found->second.token,
                      *offset,
                      subscription == subscriptions_.end() ? nullptr : &subscription->second,
                      version_});
        return;
    }
    kLog.warn("start_offset_unknown",
              {{"group", options_.group},
               {"topic", queue.topic},
               {"queue", queue.queue},
               {"error", offset.error()}});
    slot_.post_after(kRetry, [weak = weak_from_this(), queue, id] {
        const auto self = weak.lock();
        if (self == nullptr) {
            return;
        }
        const auto waiting = self->entries_.find(queue);
        if (waiting != self->entries_.end() && waiting->second.id == id &&
            waiting->second.phase == Phase::kStarting) {
            self->find_start_in_loop(queue, id);
        }
    });
}

void OrderedQueues::close_in_loop(const QueueId& queue, Entry& entry) {
    if (entry.phase == Phase::kClosing) {
        return;
    }
    const bool is_open = std::exchange(entry.phase, Phase::kClosing) == Phase::kOpen;
    if (!is_open) {
        unlock_in_loop(queue);
        return;
    }
    reader_.close(queue, [self = shared_from_this(), queue](std::int64_t offset) {
        self->slot_.post([self, queue, offset] { self->closed_in_loop(queue, offset); });
    });
}

void OrderedQueues::closed_in_loop(const QueueId& queue, std::int64_t offset) {
    const std::int64_t token = entries_.at(queue).token;
    Offsets(runtime_, slot_)
        .commit(options_.group,
                {{queue, offset}},
                [self = shared_from_this(), queue](const Status& status) {
                    if (!status) {
                        kLog.warn("commit_failed",
                                  {{"group", self->options_.group},
                                   {"topic", queue.topic},
                                   {"queue", queue.queue},
                                   {"error", status.error()}});
                    }
                    self->unlock_in_loop(queue);
                },
                {.of_locks = {{queue, token}}, .of_grants = {}});
}

void OrderedQueues::unlock_in_loop(const QueueId& queue) {
    leases_->give_up_in_loop(queue,
                             [self = shared_from_this(), queue] { self->gone_in_loop(queue); });
}

void OrderedQueues::gone_in_loop(const QueueId& queue) {
    const bool is_assigned = entries_.at(queue).is_assigned;
    entries_.erase(queue);
    if (is_assigned) {
        begin_in_loop(queue);
    }
    if (entries_.empty() && on_empty_) {
        std::exchange(on_empty_, {})();
    }
}

}  // namespace gantry::client
