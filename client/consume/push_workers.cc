// SPDX-License-Identifier: Apache-2.0
#include "client/consume/push_workers.h"

#include "client/consume/listener_call.h"
#include "client/consume/offsets.h"
#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/trace/tracer.h"
#include "common/log.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kTakeWait{500};  // until the list of local retries is looked at again
constexpr milliseconds kSendBackLimit{3'000};

}  // namespace

/// The messages of one batch on their way back to their broker.
struct PushWorkers::SendBack {
    SendBack(std::shared_ptr<PushWorkers> w, Batch b)
        : workers(std::move(w)), batch(std::move(b)) {}

    ~SendBack() {
        batch.messages = std::move(failed);
        workers->sent_back(batch);
    }

    SendBack(const SendBack&) = delete;
    SendBack& operator=(const SendBack&) = delete;

    std::shared_ptr<PushWorkers> workers;
    Batch batch;
    std::vector<MessageView> failed;
};

PushWorkers::PushWorkers(Runtime& runtime,
                         LoopSlot& slot,
                         const PushConsumer::Options& options,
                         PushConsumer::Listener listener,
                         std::shared_ptr<LocalOffsets> local)
    : runtime_(runtime),
      slot_(slot),
      options_(options),
      listener_(std::move(listener)),
      buffers_(std::make_shared<QueueBuffers>(
          runtime,
          slot,
          BufferLimits{options.queue_bytes_max, runtime.memory().bytes_max()},
          options.on_lost)),
      local_(std::move(local)),
      given_up_count_(runtime.metrics().counter("gantry_client_broadcast_given_up_total",
                                                "Broadcast messages that failed too often.")) {}

PushWorkers::~PushWorkers() = default;

Status PushWorkers::start(const std::map<std::string, Subscription>& subscriptions) {
    QueueAssigner::Options assigner;
    assigner.group = options_.group;
    assigner.start_from = options_.start_from;
    assigner.is_push = true;
    assigner.sharing = options_.sharing;
    assigner.local = local_;
    assigner.fetch.messages_max = options_.pull_messages_max;
    assigner.fetch.bytes_max = options_.pull_bytes_max;
    assigner.fetch.hold = options_.poll_hold;
    assigner.fetch.check_crc = options_.check_crc;
    assigner.on_lost = [weak = weak_from_this()](const QueueId& queue) {
        if (const std::shared_ptr<PushWorkers> self = weak.lock(); self != nullptr) {
            self->commit_lost(queue);
        }
    };
    assigner.may_release = [weak = weak_from_this()](const QueueId& queue) {
        const std::shared_ptr<PushWorkers> self = weak.lock();
        return self == nullptr || self->may_release(queue);
    };
    assigner.hand_over_limit = options_.hand_over_limit;
    if (options_.trace_sample > 0) {
        tracer_ =
            std::make_shared<Tracer>(runtime_, options_.group, "CONSUME", options_.trace_sample);
        tracer_->start();
    }
    assigner_ = std::make_shared<QueueAssigner>(runtime_, slot_, buffers_, std::move(assigner));
    GANTRY_TRY(assigner_->join(subscriptions));
    slot_.run_and_wait([this] {
        commit_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { commit_in_loop(); });
        commit_timer_->start_every(options_.commit_interval);
    });
    for (std::uint32_t i = 0; i < options_.threads; ++i) {
        threads_.emplace_back([this, i] {
            set_thread_name(("gantry-push-" + std::to_string(i)).substr(0, 15).c_str());
            work();
        });
    }
    return ok();
}

void PushWorkers::stop() {
    if (std::exchange(has_stopped_, true)) {
        return;
    }
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
    }
    buffers_->stop_taking();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    {
        MutexLock lock(mutex_);
        while (sending_back_ > 0) {
            lock.wait(changed_);
        }
    }
    slot_.run_and_wait([this] { commit_timer_.reset(); });
    commit_and_wait();
    assigner_->leave();
    buffers_->close();
    slot_.run_and_wait([] {});  // the fetchers' last work
    if (tracer_ != nullptr) {
        tracer_->close();
    }
}

void PushWorkers::work() {
    Batch batch;
    while (next_batch(batch)) {
        if (!batch.messages.empty()) {
            consume(std::move(batch));
        }
        batch = Batch{};
    }
}

bool PushWorkers::next_batch(Batch& batch) {
    const SteadyTime now = std::chrono::steady_clock::now();
    {
        const MutexLock lock(mutex_);
        if (is_stopping_) {
            return false;
        }
        if (!again_.empty() && again_.front().not_before <= now) {
            batch = std::move(again_.front());
            again_.pop_front();
            return true;
        }
    }
    const std::optional<Taken> taken =
        buffers_->take(batch.messages, options_.batch_messages_max, now + kTakeWait, true);
    if (taken.has_value()) {
        batch.taken = *taken;
    }
    return true;
}

ConsumeResult PushWorkers::call_traced(const std::vector<MessageView>& messages) {
    if (tracer_ == nullptr) {
        return call_listener(listener_, messages);
    }
    const Tracer::Delivery delivery = tracer_->delivering(messages);
    const ConsumeResult result = call_listener(listener_, messages);
    tracer_->consumed(delivery, result == ConsumeResult::kSuccess);
    return result;
}

void PushWorkers::consume(Batch batch) {
    if (call_traced(batch.messages) == ConsumeResult::kSuccess) {
        buffers_->finish(batch.taken);
    } else if (local_ != nullptr) {
        failed_here(std::move(batch));
    } else {
        send_back(std::move(batch));
    }
}

/// Nobody else has to see it again: other members have it, too.
void PushWorkers::failed_here(Batch batch) {
    if (++batch.attempts >= options_.attempts_max) {
        const MessageView& first = batch.messages.front();
        kLog.error("broadcast_given_up",
                   {{"group", options_.group},
                    {"topic", first.topic()},
                    {"message_id", first.message_id()},
                    {"messages", batch.messages.size()},
                    {"attempts", batch.attempts}});
        given_up_count_.add(batch.messages.size());
        buffers_->finish(batch.taken);
        return;
    }
    const MutexLock lock(mutex_);
    again_later(std::move(batch));
}

void PushWorkers::again_later(Batch batch) {
    batch.not_before = std::chrono::steady_clock::now() + options_.retry_delay;
    again_.push_back(std::move(batch));
}

void PushWorkers::send_back(Batch batch) {
    {
        const MutexLock lock(mutex_);
        ++sending_back_;
    }
    auto back = std::make_shared<SendBack>(shared_from_this(), std::move(batch));
    const bool posted = slot_.post([this, back] {
        for (const MessageView& message : back->batch.messages) {
            const std::string address = runtime_.routes().master_of(message.broker());
            if (address.empty()) {
                back->failed.push_back(message);
                continue;
            }
            wire::ConsumerSendMsgBackRequest fields;
            fields.set_group(options_.group);
            fields.set_offset(message.log_offset());
            fields.set_delaylevel(0);
            const std::string_view origin = message.property(wire::property::kOriginMessageId);
            fields.set_originmsgid(origin.empty() ? message.message_id() : std::string(origin));
            fields.set_origintopic(std::string(message.topic()));
            slot_.channel(address).call(
                {wire::RequestCode::kConsumerSendMsgBack, &fields, {}},
                kSendBackLimit,
                [back, message, address](Result<net::Received>& result) {
                    const Status status =
                        result ? check_response(*result, address) : Status(result.error());
                    if (!status) {
                        kLog.warn("send_back_failed",
                                  {{"topic", message.topic()}, {"error", status.error()}});
                        back->failed.push_back(message);
                    }
                });
        }
    });
    if (!posted) {
        back->failed = back->batch.messages;
    }
}

void PushWorkers::sent_back(Batch& batch) {
    if (batch.messages.empty()) {
        buffers_->finish(batch.taken);
    }
    const MutexLock lock(mutex_);
    --sending_back_;
    if (!batch.messages.empty()) {
        again_later(std::move(batch));
    }
    changed_.notify_all();
}

std::map<QueueId, std::int64_t> PushWorkers::uncommitted() {
    std::map<QueueId, std::int64_t> offsets = buffers_->commit_offsets();
    const MutexLock lock(mutex_);
    for (const auto& [queue, offset] : committed_) {
        const auto found = offsets.find(queue);
        if (found != offsets.end() && found->second == offset) {
            offsets.erase(found);
        }
    }
    return offsets;
}

void PushWorkers::committed(const std::map<QueueId, std::int64_t>& offsets) {
    const MutexLock lock(mutex_);
    for (const auto& [queue, offset] : offsets) {
        committed_[queue] = offset;
    }
}

void PushWorkers::commit_in_loop() {
    {
        const MutexLock lock(mutex_);
        if (std::exchange(is_committing_, true)) {
            return;
        }
    }
    // Before the offsets: a queue that is granted anew meanwhile is not committed under that grant.
    const std::map<QueueId, std::int64_t> tokens = assigner_->tokens();
    const std::map<QueueId, std::int64_t> offsets = uncommitted();
    if (offsets.empty() || local_ != nullptr) {
        if (local_ != nullptr && !offsets.empty()) {
            local_->put(offsets);
            committed(offsets);
        }
        const MutexLock lock(mutex_);
        is_committing_ = false;
        return;
    }
    Offsets(runtime_, slot_)
        .commit(options_.group,
                offsets,
                [self = shared_from_this(), offsets](const Status& status) {
                    if (status) {
                        self->committed(offsets);
                    } else {
                        kLog.warn("commit_failed",
                                  {{"group", self->options_.group}, {"error", status.error()}});
                    }
                    const MutexLock lock(self->mutex_);
                    self->is_committing_ = false;
                },
                {.of_locks = {}, .of_grants = tokens});
}

/// Not before what is being committed has arrived: it would move the offset back.
bool PushWorkers::may_release(const QueueId& queue) {
    const MutexLock lock(mutex_);
    if (is_committing_) {
        return false;
    }
    committed_.erase(queue);
    return true;
}

void PushWorkers::commit_lost(const QueueId& queue) {
    const std::optional<std::int64_t> offset = buffers_->commit_offset(queue);
    {
        const MutexLock lock(mutex_);
        const auto known = committed_.find(queue);
        const bool is_known =
            known != committed_.end() && offset.has_value() && known->second == *offset;
        if (known != committed_.end()) {
            committed_.erase(known);
        }
        if (is_known) {
            return;
        }
    }
    if (offset.has_value() && local_ != nullptr) {
        local_->put({{queue, *offset}});
    } else if (offset.has_value()) {
        Offsets(runtime_, slot_)
            .commit(options_.group,
                    {{queue, *offset}},
                    [](const Status&) {},
                    {.of_locks = {}, .of_grants = assigner_->tokens()});
    }
}

void PushWorkers::commit_and_wait() {
    const std::map<QueueId, std::int64_t> tokens = assigner_->tokens();
    const std::map<QueueId, std::int64_t> offsets = uncommitted();
    if (local_ != nullptr) {
        local_->put(offsets);
        if (const Status saved = local_->save(); !saved) {
            kLog.warn("commit_failed", {{"group", options_.group}, {"error", saved.error()}});
        }
        return;
    }
    if (offsets.empty()) {
        return;
    }
    const Status status = wait_for<Status>([&](auto done) {
        Offsets(runtime_, slot_)
            .commit(
                options_.group, offsets, std::move(done), {.of_locks = {}, .of_grants = tokens});
    });
    if (!status) {
        kLog.warn("commit_failed", {{"group", options_.group}, {"error", status.error()}});
    }
}

}  // namespace gantry::client
