// SPDX-License-Identifier: Apache-2.0
#include "client/order/ordered_workers.h"

#include "client/consume/offsets.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kLookMax{100};  // until suspensions and leases are looked at again
constexpr std::size_t kTakeMax = 64;
constexpr char kNoKey = '\x01';  // begins lanes of messages without a key; in no property
constexpr std::uint32_t kDoublingsMax = 20;
constexpr int kListsPerLease = 3;  // of parked keys

OrderedResult call(const OrderedConsumer::Listener& listener,
                   const std::vector<MessageView>& messages) {
    try {
        return listener(messages);
    } catch (const std::exception& e) {
        kLog.error("listener_threw", {{"what", e.what()}});
    } catch (...) {
        kLog.error("listener_threw", {{"what", "something that is no std::exception"}});
    }
    return OrderedResult::later();
}

/// Few enough that a queue never holds more than it may.
std::size_t take_max_of(std::uint32_t held_max) {
    return std::clamp<std::size_t>(held_max / 4, 1, kTakeMax);
}

}  // namespace

OrderedWorkers::OrderedWorkers(Runtime& runtime,
                               LoopSlot& slot,
                               const OrderedConsumer::Options& options)
    : runtime_(runtime),
      slot_(slot),
      options_(options),
      take_max_(take_max_of(options.held_messages_max)),
      buffers_(std::make_shared<QueueBuffers>(
          runtime,
          slot,
          BufferLimits{options.queue_bytes_max, runtime.memory().bytes_max()},
          options.on_lost)),
      leases_(std::make_shared<QueueLeases>(runtime, slot, options.group, options.lease)),
      assigner_(std::make_shared<OrderedQueues>(runtime, slot, options, leases_)),
      parked_calls_(runtime, slot, options.group),
      dead_count_(runtime.metrics().counter("gantry_client_ordered_given_up_total",
                                            "Messages that failed too often in order.")),
      parked_count_(runtime.metrics().counter("gantry_client_ordered_parked_total",
                                              "Messages put aside because their key is parked.")) {}

OrderedWorkers::~OrderedWorkers() = default;

Status OrderedWorkers::start(const std::map<std::string, Subscription>& subscriptions,
                             OrderedConsumer::Listener listener) {
    listener_ = std::move(listener);
    OrderedQueues::Reader reader;
    reader.open = [this](const OpenedQueue& opened) { open(opened); };
    reader.close = [this](const QueueId& id, OrderedQueues::OnClosed closed) {
        close(id, std::move(closed));
    };
    GANTRY_TRY(assigner_->join(subscriptions, std::move(reader)));
    slot_.run_and_wait([this] {
        commit_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { commit_in_loop(); });
        commit_timer_->start_every(options_.commit_interval);
        if (parks()) {
            parked_timer_ =
                std::make_unique<net::Timer>(slot_.loop(), [this] { refresh_in_loop(); });
            parked_timer_->start_every(options_.lease / kListsPerLease);
        }
    });
    for (std::uint32_t i = 0; i < options_.threads; ++i) {
        threads_.emplace_back([this, i] {
            set_thread_name(("gantry-order-" + std::to_string(i)).substr(0, 15).c_str());
            work();
        });
    }
    return ok();
}

void OrderedWorkers::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        changed_.notify_all();
    }
    buffers_->stop_taking();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    {
        MutexLock lock(mutex_);
        while (settling_ > 0) {
            lock.wait(changed_);
        }
    }
    slot_.run_and_wait([this] {
        commit_timer_.reset();
        parked_timer_.reset();
    });
    assigner_->leave();
    buffers_->close();
    slot_.run_and_wait([] {});  // the fetchers' last work
}

void OrderedWorkers::suspend(const QueueId& queue) {
    const MutexLock lock(mutex_);
    suspended_.insert(queue);
}

void OrderedWorkers::resume(const QueueId& queue) {
    const MutexLock lock(mutex_);
    suspended_.erase(queue);
    changed_.notify_all();
}

void OrderedWorkers::suspend_all(bool is_suspended) {
    const MutexLock lock(mutex_);
    all_suspended_ = is_suspended;
    changed_.notify_all();
}

void OrderedWorkers::open(const OpenedQueue& opened) {
    auto queue = std::make_shared<Queue>(opened);
    queue->fetch.group = options_.group;
    queue->fetch.subscription_version = opened.subscription_version;
    queue->fetch.messages_max = options_.pull_messages_max;
    queue->fetch.bytes_max = options_.pull_bytes_max;
    queue->fetch.hold = options_.poll_hold;
    queue->fetch.check_crc = options_.check_crc;
    queue->fetch.lock_token = opened.token;
    if (opened.subscription != nullptr) {
        queue->fetch.selector = opened.subscription->selector;
        queue->filter = opened.subscription->filter;
    }
    {
        const MutexLock lock(mutex_);
        queues_[opened.id] = queue;
        if (!parks()) {
            read(*queue);
            return;
        }
    }
    ask_parked(queue);  // it is read when that is known
}

void OrderedWorkers::read(Queue& queue) {
    queue.epoch = buffers_->add(queue.id, queue.fetch, queue.filter, queue.scheduler.end());
}

void OrderedWorkers::close(const QueueId& id, OrderedQueues::OnClosed closed) {
    UniqueFunction<void()> then;
    {
        const MutexLock lock(mutex_);
        Queue& queue = *queues_.at(id);
        queue.floor = buffers_->commit_offset(id).value_or(0);
        queue.is_closing = true;
        queue.closed = std::move(closed);
        buffers_->remove(id);
        queue.running -= queue.released.size();
        queue.released.clear();
        then = after_work(queue);
    }
    if (then) {
        then();
    }
}

void OrderedWorkers::work() {
    Job job;
    while (next_job(job)) {
        run(std::exchange(job, Job{}));
    }
}

bool OrderedWorkers::next_job(Job& job) {
    for (;;) {
        SteadyTime until;
        {
            MutexLock lock(mutex_);
            for (;;) {
                const SteadyTime now = std::chrono::steady_clock::now();
                if (is_stopping_) {
                    return false;
                }
                if (take_job(job, now)) {
                    return true;
                }
                until = next_look(now);
                if (!is_feeding_) {
                    is_feeding_ = true;
                    break;
                }
                static_cast<void>(lock.wait_until(changed_, until));
            }
        }
        feed(until);
    }
}

bool OrderedWorkers::take_job(Job& job, SteadyTime now) {
    if (all_suspended_) {
        return false;
    }
    auto at = queues_.upper_bound(last_);
    for (std::size_t i = 0; i < queues_.size(); ++i, ++at) {
        at = at == queues_.end() ? queues_.begin() : at;
        Queue& queue = *at->second;
        const bool has_work = !queue.released.empty() || queue.scheduler.is_ready(now);
        if (queue.is_closing || !has_work || suspended_.count(queue.id) != 0 ||
            !leases_->is_live(queue.id, queue.token)) {
            continue;
        }
        if (!queue.released.empty()) {
            job = std::move(queue.released.front());  // is running since it was released
            queue.released.pop_front();
        } else if (auto work = queue.scheduler.take(options_.batch_messages_max, now)) {
            job.queue = at->second;
            job.work = std::move(*work);
            ++queue.running;
        } else {
            continue;
        }
        last_ = queue.id;
        changed_.notify_one();  // there may be more
        return true;
    }
    return false;
}

SteadyTime OrderedWorkers::next_look(SteadyTime now) const {
    SteadyTime next = now + kLookMax;
    for (const auto& [id, queue] : queues_) {
        const std::optional<SteadyTime> due = queue->scheduler.next_due();
        if (due && *due > now) {
            next = std::min(next, *due);
        }
    }
    return next;
}

void OrderedWorkers::feed(SteadyTime until) {
    std::vector<MessageView> messages;
    const std::optional<Taken> taken = buffers_->take(messages, take_max_, until, true);
    const MutexLock lock(mutex_);
    is_feeding_ = false;
    const auto found = taken ? queues_.find(taken->queue) : queues_.end();
    if (found != queues_.end() && found->second->epoch == taken->epoch &&
        !found->second->is_closing) {
        hold(*found->second, {*taken, std::move(messages)});
    }
    changed_.notify_one();
}

void OrderedWorkers::hold(Queue& queue, Stash stash) {
    if (stash.messages.front().queue_offset() < queue.scheduler.end()) {
        if (!queue.scheduler.is_empty()) {
            queue.stash = std::move(stash);
            queue.is_full = true;
            buffers_->pause(queue.id);
            return;
        }
        queue.scheduler = KeyScheduler(stash.taken.begin);
    }
    for (MessageView& message : stash.messages) {
        std::string key = key_of(message);
        const std::int64_t offset = message.queue_offset();
        queue.scheduler.push(std::move(key), offset, std::move(message));
    }
    queue.batches.push_back({stash.taken, queue.scheduler.end()});
    const auto held_max = static_cast<std::int64_t>(options_.held_messages_max);
    if (queue.scheduler.span() + static_cast<std::int64_t>(take_max_) > held_max) {
        queue.is_full = true;
        buffers_->pause(queue.id);
    }
}

/// Without a key it is ordered with no other: its own lane.
std::string OrderedWorkers::key_of(const MessageView& message) const {
    if (options_.order_by == OrderBy::kQueue) {
        return {};
    }
    const std::string_view key = message.property(options_.key_property);
    return key.empty() ? kNoKey + std::to_string(message.queue_offset()) : std::string(key);
}

milliseconds OrderedWorkers::backoff(std::uint32_t attempts) const {
    const milliseconds delay = options_.retry_delay * (1U << std::min(attempts, kDoublingsMax));
    return std::min(delay, options_.retry_delay_max);
}

void OrderedWorkers::run(Job job) {
    if (parks() && is_parked(job)) {
        park(std::move(job), false);
        return;
    }
    std::vector<MessageView> messages;
    for (const KeyScheduler::Held& held : job.work.held) {
        messages.push_back(held.message);
    }
    const OrderedResult result = call(listener_, messages);
    if (job.is_released) {
        handled_released(std::move(job), result);
        return;
    }
    switch (result.kind) {
        case OrderedResult::Kind::kSuccess:
            finish(job);
            return;
        case OrderedResult::Kind::kSuspend:
            again(std::move(job), std::max(result.delay, milliseconds{0}), false);
            return;
        case OrderedResult::Kind::kLater:
            failed(std::move(job));
            return;
    }
}

void OrderedWorkers::failed(Job job) {
    const std::uint32_t attempts = job.work.attempts;
    const bool is_over = options_.poisoned != Poisoned::kBlock && job.work.held.size() == 1 &&
                         attempts + 1 >= options_.attempts_max;
    if (is_over && parks() && job.work.key.front() != kNoKey) {
        kLog.error("key_parked",
                   {{"group", options_.group},
                    {"topic", job.queue->id.topic},
                    {"queue", job.queue->id.queue},
                    {"key", job.work.key},
                    {"attempts", attempts + 1}});
        park(std::move(job), true);
        return;
    }
    if (is_over) {
        bury(std::move(job));
        return;
    }
    again(std::move(job), backoff(attempts), true);
}

void OrderedWorkers::finish(const Job& job) {
    UniqueFunction<void()> then;
    {
        const MutexLock lock(mutex_);
        Queue& queue = *job.queue;
        queue.scheduler.done(job.work);
        --queue.running;
        then = after_work(queue);
        changed_.notify_one();
    }
    if (then) {
        then();
    }
}

void OrderedWorkers::again(Job job, milliseconds delay, bool has_failed) {
    UniqueFunction<void()> then;
    {
        const MutexLock lock(mutex_);
        Queue& queue = *job.queue;
        queue.scheduler.again(
            std::move(job.work), std::chrono::steady_clock::now() + delay, has_failed);
        --queue.running;
        then = after_work(queue);
        changed_.notify_one();
    }
    if (then) {
        then();
    }
}

UniqueFunction<void()> OrderedWorkers::after_work(Queue& queue) {
    if (queue.is_closing) {
        if (queue.running > 0) {
            return {};
        }
        const std::int64_t offset =
            commit_offset(queue, std::max(queue.floor, queue.scheduler.end()));
        auto closed = std::make_shared<OrderedQueues::OnClosed>(std::move(queue.closed));
        queues_.erase(QueueId(queue.id));
        return [closed, offset] { (*closed)(offset); };
    }
    while (!queue.batches.empty() && queue.batches.front().end <= queue.scheduler.first_undone()) {
        buffers_->finish(queue.batches.front().taken);
        queue.batches.pop_front();
    }
    if (queue.stash) {
        if (queue.scheduler.is_empty()) {
            queue.is_full = false;
            buffers_->resume(queue.id);
            hold(queue, *std::exchange(queue.stash, std::nullopt));
        }
        return {};
    }
    const auto held_max = static_cast<std::int64_t>(options_.held_messages_max);
    if (queue.is_full && queue.scheduler.span() <= held_max / 2) {
        queue.is_full = false;
        buffers_->resume(queue.id);
    }
    return {};
}

std::int64_t OrderedWorkers::commit_offset(const Queue& queue, std::int64_t read) {
    return queue.scheduler.is_empty() ? read : queue.scheduler.first_undone();
}

void OrderedWorkers::commit_in_loop() {
    if (is_committing_) {
        return;
    }
    std::map<QueueId, std::int64_t> offsets;
    std::map<QueueId, std::int64_t> tokens;
    {
        const MutexLock lock(mutex_);
        for (const auto& [id, queue] : queues_) {
            const std::optional<std::int64_t> read = buffers_->commit_offset(id);
            if (queue->is_closing || !read) {
                continue;
            }
            const std::int64_t offset = commit_offset(*queue, *read);
            if (queue->committed != offset) {
                offsets[id] = offset;
                tokens[id] = queue->token;
            }
        }
    }
    if (offsets.empty()) {
        return;
    }
    is_committing_ = true;
    Offsets(runtime_, slot_)
        .commit(options_.group,
                offsets,
                [self = shared_from_this(), offsets, tokens](const Status& status) {
                    self->is_committing_ = false;
                    if (!status) {
                        kLog.warn("commit_failed",
                                  {{"group", self->options_.group}, {"error", status.error()}});
                        return;
                    }
                    const MutexLock lock(self->mutex_);
                    for (const auto& [id, offset] : offsets) {
                        const auto found = self->queues_.find(id);
                        if (found != self->queues_.end() && found->second->token == tokens.at(id)) {
                            found->second->committed = offset;
                        }
                    }
                },
                {.of_locks = tokens, .of_grants = {}});
}

}  // namespace gantry::client
