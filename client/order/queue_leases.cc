// SPDX-License-Identifier: Apache-2.0
#include "client/order/queue_leases.h"

#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "common/log.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kTickMin{50};
constexpr milliseconds kTickMax{500};
constexpr milliseconds kUnlockLimit{3'000};
constexpr int kTicksPerLease = 12;
constexpr int kRenewalsPerLease = 3;
constexpr int kMarginPart = 10;

/// The token by queue.
std::map<std::pair<std::string, std::int32_t>, std::int64_t> tokens_of(
    const wire::LockQueuesResponse& response) {
    std::map<std::pair<std::string, std::int32_t>, std::int64_t> tokens;
    for (const auto& held : response.held()) {
        tokens[{held.topic(), held.queueid()}] = held.token();
    }
    return tokens;
}

}  // namespace

QueueLeases::QueueLeases(Runtime& runtime, LoopSlot& slot, std::string group, milliseconds lease)
    : runtime_(runtime),
      slot_(slot),
      group_(std::move(group)),
      lease_(lease),
      lost_count_(
          runtime.metrics().counter("gantry_client_ordered_leases_lost_total",
                                    "Locks of queues that were refused or not renewed in time.")) {}

QueueLeases::~QueueLeases() = default;

void QueueLeases::start_in_loop(Events events) {
    events_ = std::move(events);
    timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { tick_in_loop(); });
    timer_->start_every(std::clamp(lease_ / kTicksPerLease, kTickMin, kTickMax));
}

void QueueLeases::close_in_loop() {
    timer_.reset();
    events_ = {};
    const MutexLock lock(mutex_);
    locks_.clear();
}

void QueueLeases::want_in_loop(const QueueId& queue) {
    {
        const MutexLock lock(mutex_);
        locks_[queue] = Lock{.id = ++last_id_};
    }
    slot_.post([self = shared_from_this()] { self->tick_in_loop(); });
}

void QueueLeases::give_up_in_loop(const QueueId& queue, UniqueFunction<void()> then) {
    {
        const MutexLock lock(mutex_);
        locks_.erase(queue);
    }
    const std::string address = runtime_.routes().master_of(queue.broker);
    if (address.empty()) {
        then();
        return;
    }
    const wire::LockQueuesRequest fields = request_of({queue});
    slot_.channel(address).call({wire::RequestCode::kUnlockQueues, &fields, {}},
                                kUnlockLimit,
                                [then = std::make_shared<UniqueFunction<void()>>(std::move(then))](
                                    Result<net::Received>&) { (*then)(); });
}

bool QueueLeases::is_live(const QueueId& queue, std::int64_t token) const {
    const MutexLock lock(mutex_);
    const auto found = locks_.find(queue);
    return found != locks_.end() && found->second.token == token &&
           std::chrono::steady_clock::now() < found->second.until;
}

wire::LockQueuesRequest QueueLeases::request_of(const std::vector<QueueId>& queues) const {
    wire::LockQueuesRequest request;
    request.set_group(group_);
    request.set_clientid(runtime_.client_id());
    request.set_leasemillis(lease_.count());
    for (const QueueId& queue : queues) {
        auto& added = *request.add_queues();
        added.set_topic(queue.topic);
        added.set_queueid(queue.queue);
    }
    return request;
}

void QueueLeases::tick_in_loop() {
    if (timer_ == nullptr) {
        return;
    }
    const SteadyTime now = std::chrono::steady_clock::now();
    std::map<std::string, Question> questions;
    std::vector<QueueId> lost;
    {
        const MutexLock lock(mutex_);
        for (auto& [queue, held] : locks_) {
            if (held.token != 0 && now >= held.until) {
                lost.push_back(queue);
                continue;
            }
            const bool is_due = held.token == 0 || now - held.asked >= lease_ / kRenewalsPerLease;
            const std::string address = runtime_.routes().master_of(queue.broker);
            if (!is_due || held.is_asking || address.empty()) {
                continue;
            }
            held.is_asking = true;
            questions[address].queues[queue] = held.id;
        }
        for (const QueueId& queue : lost) {
            locks_.erase(queue);
        }
    }
    for (const QueueId& queue : lost) {
        lost_count_.add();
        kLog.warn("lease_over",
                  {{"group", group_}, {"topic", queue.topic}, {"queue", queue.queue}});
        events_.on_lost(queue);
    }
    for (auto& [address, question] : questions) {
        question.sent = now;
        question.address = address;
        ask_in_loop(std::move(question));
    }
}

void QueueLeases::ask_in_loop(Question question) {
    std::vector<QueueId> queues;
    for (const auto& [queue, id] : question.queues) {
        queues.push_back(queue);
    }
    const wire::LockQueuesRequest fields = request_of(queues);
    const std::string address = question.address;
    slot_.channel(address).call(
        {wire::RequestCode::kLockQueues, &fields, {}},
        lease_ / kRenewalsPerLease,
        [self = shared_from_this(), question = std::move(question)](Result<net::Received>& result) {
            self->answered_in_loop(question, result);
        });
}

void QueueLeases::answered_in_loop(const Question& question, Result<net::Received>& result) {
    const Result<wire::LockQueuesResponse> answer =
        fields_of<wire::LockQueuesResponse>(result, question.address);
    if (!answer) {
        kLog.debug("lock_failed", {{"group", group_}, {"error", answer.error()}});
    }
    const auto tokens = answer ? tokens_of(*answer) : tokens_of({});
    std::map<QueueId, std::int64_t> held;
    std::vector<QueueId> lost;
    {
        const MutexLock lock(mutex_);
        for (const auto& [queue, id] : question.queues) {
            const auto found = locks_.find(queue);
            if (found == locks_.end() || found->second.id != id) {
                continue;
            }
            found->second.is_asking = false;
            if (!answer) {
                continue;
            }
            const auto token = tokens.find({queue.topic, queue.queue});
            const bool is_new = found->second.token == 0;
            const std::int64_t granted = token == tokens.end() ? 0 : token->second;
            if (!take_in_loop(found->second, granted, question.sent)) {
                lost.push_back(queue);
                locks_.erase(found);
            } else if (is_new && granted != 0) {
                held[queue] = granted;
            }
        }
    }
    for (const QueueId& queue : lost) {
        lost_count_.add();
        kLog.warn("lease_refused",
                  {{"group", group_}, {"topic", queue.topic}, {"queue", queue.queue}});
        events_.on_lost(queue);
    }
    for (const auto& [queue, token] : held) {
        events_.on_held(queue, token);
    }
}

bool QueueLeases::take_in_loop(Lock& lock, std::int64_t token, SteadyTime sent) const {
    if (lock.token != 0 && lock.token != token) {
        return false;  // another member's, or was meanwhile
    }
    if (token != 0) {
        lock.token = token;
        lock.asked = sent;
        lock.until = sent + lease_ - lease_ / kMarginPart;
    }
    return true;
}

}  // namespace gantry::client
