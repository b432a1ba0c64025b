// SPDX-License-Identifier: Apache-2.0
// The part of OrderedWorkers that gives messages up, parks keys, and takes released ones up again.
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/order/ordered_workers.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kBuryLimit{3'000};

}  // namespace

/// A message on its way to the dead letters.
struct OrderedWorkers::DeadLetters {
    DeadLetters(std::shared_ptr<OrderedWorkers> w, Job j)
        : workers(std::move(w)), job(std::move(j)) {}

    ~DeadLetters() { workers->buried(std::move(job), status); }

    DeadLetters(const DeadLetters&) = delete;
    DeadLetters& operator=(const DeadLetters&) = delete;

    std::shared_ptr<OrderedWorkers> workers;
    Job job;
    Status status = Error{Errc::kGone, "no route names the broker"};
};

void OrderedWorkers::bury(Job job) {
    {
        const MutexLock lock(mutex_);
        ++settling_;
    }
    auto letter = std::make_shared<DeadLetters>(shared_from_this(), std::move(job));
    slot_.post([this, letter] {
        const MessageView& message = letter->job.work.held.front().message;
        const std::string address = runtime_.routes().master_of(message.broker());
        if (address.empty()) {
            return;
        }
        wire::ConsumerSendMsgBackRequest fields;
        fields.set_group(options_.group);
        fields.set_offset(message.log_offset());
        fields.set_delaylevel(-1);
        fields.set_origintopic(std::string(message.topic()));
        fields.set_locktoken(letter->job.queue->token);
        slot_.channel(address).call({wire::RequestCode::kConsumerSendMsgBack, &fields, {}},
                                    kBuryLimit,
                                    [letter, address](Result<net::Received>& result) {
                                        letter->status = result ? check_response(*result, address)
                                                                : result.error();
                                    });
    });
}

void OrderedWorkers::buried(Job job, const Status& status) {
    const MessageView message = job.work.held.front().message;
    if (status) {
        dead_count_.add();
        kLog.error("ordered_given_up",
                   {{"group", options_.group},
                    {"topic", message.topic()},
                    {"message_id", message.message_id()},
                    {"attempts", job.work.attempts + 1}});
        finish(job);
    } else {
        kLog.warn("dead_letter_failed", {{"group", options_.group}, {"error", status.error()}});
        again(std::move(job), options_.retry_delay, false);
    }
    settled();
}

void OrderedWorkers::settled() {
    const MutexLock lock(mutex_);
    --settling_;
    changed_.notify_all();
}

bool OrderedWorkers::is_parked(const Job& job) {
    const MutexLock lock(mutex_);
    return !job.is_released && job.queue->parked.count(job.work.key) != 0;
}

void OrderedWorkers::refresh_in_loop() {
    std::vector<QueuePtr> queues;
    {
        const MutexLock lock(mutex_);
        for (const auto& [id, queue] : queues_) {
            if (!queue->is_closing) {
                queues.push_back(queue);
            }
        }
    }
    for (const QueuePtr& queue : queues) {
        ask_parked(queue);
    }
}

void OrderedWorkers::ask_parked(const QueuePtr& queue) {
    std::uint64_t changes = 0;
    {
        const MutexLock lock(mutex_);
        changes = queue->parked_changes;
    }
    parked_calls_.list(queue->id,
                       [self = shared_from_this(), queue, changes](
                           const Result<std::vector<ParkedCalls::Key>>& keys) {
                           if (keys) {
                               self->take_parked(queue, *keys, changes);
                               return;
                           }
                           kLog.warn("parked_keys_unknown",
                                     {{"group", self->options_.group},
                                      {"topic", queue->id.topic},
                                      {"queue", queue->id.queue},
                                      {"error", keys.error()}});
                       });
}

void OrderedWorkers::take_parked(const QueuePtr& queue,
                                 const std::vector<ParkedCalls::Key>& keys,
                                 std::uint64_t changes) {
    std::vector<std::pair<std::string, std::int64_t>> released;
    {
        const MutexLock lock(mutex_);
        if (queue->is_closing || queue->parked_changes != changes) {
            return;  // the next list is newer than what was changed here meanwhile
        }
        std::map<std::string, ParkedLane, std::less<>> parked;
        for (const ParkedCalls::Key& key : keys) {
            parked[key.key] = key.lane;
            // Once the offset is committed no later owner gets the message by reading the queue.
            const bool is_safe = queue->committed.value_or(0) > key.lane.first;
            if (key.lane.is_released && is_safe && queue->epoch != 0 &&
                queue->scheduler.hold(key.key)) {
                ++queue->running;
                released.emplace_back(key.key, key.lane.first);
            }
        }
        queue->parked = std::move(parked);
        if (queue->epoch == 0) {
            read(*queue);
        }
        changed_.notify_one();
    }
    for (const auto& [key, offset] : released) {
        fetch_released(queue, key, offset);
    }
}

void OrderedWorkers::park(Job job, bool is_new) {
    ParkedCalls::Change change;
    change.key = job.work.key;
    change.is_new = is_new;
    for (const KeyScheduler::Held& held : job.work.held) {
        change.offsets.push_back(held.offset);
    }
    {
        const MutexLock lock(mutex_);
        ++settling_;
    }
    const LockedQueue queue{job.queue->id, job.queue->token};
    auto shared = std::make_shared<Job>(std::move(job));
    parked_calls_.change(
        queue, change, [self = shared_from_this(), shared](const Result<ParkedLane>& lane) {
            self->parked(std::move(*shared), lane);
        });
}

void OrderedWorkers::parked(Job job, const Result<ParkedLane>& lane) {
    const bool is_free = !lane && lane.error().code == Errc::kNotFound;
    {
        const MutexLock lock(mutex_);
        Queue& queue = *job.queue;
        if (lane) {
            queue.parked[job.work.key] = *lane;
            ++queue.parked_changes;
            parked_count_.add(job.work.held.size());
        } else if (is_free) {
            queue.parked.erase(job.work.key);  // dropped meanwhile
            ++queue.parked_changes;
        }
    }
    if (lane) {
        finish(job);
    } else if (is_free) {
        again(std::move(job), milliseconds{0}, false);
    } else {
        kLog.warn("park_failed", {{"group", options_.group}, {"error", lane.error()}});
        again(std::move(job), options_.retry_delay, false);
    }
    settled();
}

void OrderedWorkers::fetch_released(const QueuePtr& queue,
                                    const std::string& key,
                                    std::int64_t offset) {
    parked_calls_.fetch(
        {queue->id, queue->token},
        offset,
        [self = shared_from_this(), queue, key, offset](
            Result<std::optional<MessageView>> message) {
            Job job;
            job.queue = queue;
            job.is_released = true;
            job.work.key = key;
            job.work.held.push_back({offset, {}});
            if (!message) {
                kLog.warn("parked_message_unread",
                          {{"group", self->options_.group}, {"error", message.error()}});
                self->after(queue, key, self->options_.retry_delay, [self, queue, key, offset] {
                    self->fetch_released(queue, key, offset);
                });
            } else if (!message->has_value()) {
                kLog.error("parked_message_gone",
                           {{"group", self->options_.group},
                            {"topic", queue->id.topic},
                            {"queue", queue->id.queue},
                            {"offset", offset}});
                self->settle_released(std::move(job), ParkedCalls::Action::kDone);
            } else {
                job.work.held.front().message = std::move(**message);
                self->give_released(std::move(job));
            }
        });
}

void OrderedWorkers::give_released(Job job) {
    {
        const MutexLock lock(mutex_);
        if (!job.queue->is_closing) {
            job.queue->released.push_back(std::move(job));
            changed_.notify_one();
            return;
        }
    }
    end_release(job.queue, job.work.key);
}

void OrderedWorkers::handled_released(Job job, const OrderedResult& result) {
    milliseconds delay = std::max(result.delay, milliseconds{0});
    if (result.kind == OrderedResult::Kind::kSuccess) {
        settle_released(std::move(job), ParkedCalls::Action::kDone);
        return;
    }
    if (result.kind == OrderedResult::Kind::kLater) {
        delay = backoff(job.work.attempts);
        if (++job.work.attempts >= options_.attempts_max) {
            settle_released(std::move(job), ParkedCalls::Action::kHeld);
            return;
        }
    }
    const QueuePtr queue = job.queue;
    const std::string key = job.work.key;
    auto shared = std::make_shared<Job>(std::move(job));
    after(queue, key, delay, [self = shared_from_this(), shared] {
        self->give_released(std::move(*shared));
    });
}

void OrderedWorkers::settle_released(Job job, ParkedCalls::Action action) {
    ParkedCalls::Change change;
    change.action = action;
    change.key = job.work.key;
    if (action == ParkedCalls::Action::kDone) {
        change.offsets.push_back(job.work.held.front().offset);
    }
    auto shared = std::make_shared<Job>(std::move(job));
    parked_calls_.change(
        {shared->queue->id, shared->queue->token},
        change,
        [self = shared_from_this(), shared, action](const Result<ParkedLane>& lane) {
            const QueuePtr queue = shared->queue;
            const std::string key = shared->work.key;
            const bool is_free = !lane && lane.error().code == Errc::kNotFound;
            if (!lane && !is_free) {
                kLog.warn("release_failed",
                          {{"group", self->options_.group}, {"error", lane.error()}});
                self->after(queue, key, self->options_.retry_delay, [self, shared, action] {
                    self->settle_released(std::move(*shared), action);
                });
                return;
            }
            const ParkedLane left = lane ? *lane : ParkedLane{};
            self->note_left(*queue, key, left);
            if (left.count > 0 && left.is_released) {
                self->fetch_released(queue, key, left.first);
            } else {
                self->end_release(queue, key);
            }
        });
}

void OrderedWorkers::note_left(Queue& queue, const std::string& key, const ParkedLane& left) {
    const MutexLock lock(mutex_);
    ++queue.parked_changes;
    if (left.count > 0) {
        queue.parked[key] = left;
    } else {
        queue.parked.erase(key);
    }
}

void OrderedWorkers::after(const QueuePtr& queue,
                           const std::string& key,
                           milliseconds delay,
                           UniqueFunction<void()> next) {
    auto shared = std::make_shared<UniqueFunction<void()>>(std::move(next));
    slot_.post_after(delay, [self = shared_from_this(), queue, key, shared] {
        bool is_closing = false;
        {
            const MutexLock lock(self->mutex_);
            is_closing = queue->is_closing;
        }
        if (is_closing) {
            self->end_release(queue, key);
        } else {
            (*shared)();
        }
    });
}

void OrderedWorkers::end_release(const QueuePtr& queue, const std::string& key) {
    UniqueFunction<void()> then;
    {
        const MutexLock lock(mutex_);
        queue->scheduler.release(key);
        --queue->running;
        then = after_work(*queue);
        changed_.notify_one();
    }
    if (then) {
        then();
    }
}

}  // namespace gantry::client
