// SPDX-License-Identifier: Apache-2.0
#include "broker/order/queue_lock_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/header.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <memory>
#include <string>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int64_t kLeaseMsMin = 1'000;
constexpr std::int64_t kLeaseMsMax = 60'000;
constexpr int kQueuesMax = 10'000;

Status check(const wire::LockQueuesRequest& request) {
    if (request.group().empty() || request.clientid().empty()) {
        return Error{Errc::kRefused, "consumerGroup or clientId of a queue lock is empty"};
    }
    if (request.queues_size() > kQueuesMax) {
        return Error{Errc::kRefused,
                     "number of queues to lock " + std::to_string(request.queues_size()) +
                         " is above " + std::to_string(kQueuesMax)};
    }
    return ok();
}

Status check_lease(std::int64_t lease) {
    if (lease < kLeaseMsMin || lease > kLeaseMsMax) {
        return Error{Errc::kRefused,
                     "leaseMillis " + std::to_string(lease) + " is outside " +
                         std::to_string(kLeaseMsMin) + ".." + std::to_string(kLeaseMsMax)};
    }
    return ok();
}

/// What a stock client asks for, in Gantry's words.
Result<wire::LockQueuesRequest> read_batch(const Call& call, wire::LockBatchRequestBody& body) {
    GANTRY_TRY(wire::decode_body(call.to.codec, call.body(), body));
    wire::LockQueuesRequest request;
    request.set_group(body.consumergroup());
    request.set_clientid(body.clientid());
    request.set_leasemillis(QueueLocks::kLifetime.count());
    for (const wire::MessageQueue& queue : body.mqset()) {
        auto& added = *request.add_queues();
        added.set_topic(queue.topic());
        added.set_queueid(queue.queueid());
    }
    GANTRY_TRY(check(request));
    return request;
}

bool is_held(const wire::LockQueuesResponse& response, const wire::MessageQueue& queue) {
    return std::any_of(response.held().begin(), response.held().end(), [&](const auto& held) {
        return held.topic() == queue.topic() && held.queueid() == queue.queueid();
    });
}

}  // namespace

void QueueLockHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kLockBatchMq, *this, &QueueLockHandler::lock_batch);
    dispatcher.add(RequestCode::kUnlockBatchMq, *this, &QueueLockHandler::unlock_batch);
    dispatcher.add(RequestCode::kLockQueues, *this, &QueueLockHandler::lock);
    dispatcher.add(RequestCode::kUnlockQueues, *this, &QueueLockHandler::unlock);
}

bool QueueLockHandler::is_there(const std::string& topic, std::int32_t queue_id) const {
    storage::Topic* const found =
        topic == storage::kStateTopic ? nullptr : context_.store->find_topic(topic);
    return found != nullptr && queue_id >= 0 && found->queue(queue_id) != nullptr;
}

Result<LogOffset> QueueLockHandler::lock_all(const wire::LockQueuesRequest& request,
                                             bool is_watched,
                                             wire::LockQueuesResponse& response) {
    LogOffset end{};
    for (const auto& queue : request.queues()) {
        if (!is_there(queue.topic(), queue.queueid())) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(
            const QueueLocks::Grant grant,
            context_.locks.lock({request.group(), queue.topic(), queue.queueid()},
                                request.clientid(),
                                std::chrono::milliseconds(request.leasemillis()),
                                is_watched));
        end = std::max(end, grant.end);
        if (grant.token != 0) {
            auto& held = *response.add_held();
            held.set_topic(queue.topic());
            held.set_queueid(queue.queueid());
            held.set_token(grant.token);
        }
    }
    return end;
}

Result<LogOffset> QueueLockHandler::unlock_all(const wire::LockQueuesRequest& request) {
    LogOffset end{};
    for (const auto& queue : request.queues()) {
        GANTRY_ASSIGN_OR_RETURN(
            const LogOffset released,
            context_.locks.unlock({request.group(), queue.topic(), queue.queueid()},
                                  request.clientid()));
        end = std::max(end, released);
    }
    return end;
}

void QueueLockHandler::lock_batch(Call& call) {
    wire::LockBatchRequestBody body;
    const Result<wire::LockQueuesRequest> request = read_batch(call, body);
    if (!request) {
        call.fail(request.error(), ResponseCode::kSystemError);
        return;
    }
    wire::LockQueuesResponse held;
    const Result<LogOffset> end = lock_all(*request, false, held);
    if (!end) {
        call.fail(end.error(), ResponseCode::kSystemError);
        return;
    }
    wire::LockBatchResponseBody response;
    for (const wire::MessageQueue& queue : body.mqset()) {
        if (is_held(held, queue)) {
            *response.add_lockokmqset() = queue;
        }
    }
    std::string bytes;
    wire::append_body(bytes, call.to.codec, response);
    call.loop.when_durable(*end,
                           [&loop = call.loop, to = call.addressee(), bytes](const Status& status) {
                               if (status) {
                                   loop.reply(to, ResponseCode::kSuccess, {}, nullptr, bytes);
                               } else {
                                   loop.fail(to, status.error());
                               }
                           });
}

void QueueLockHandler::unlock_batch(Call& call) {
    wire::LockBatchRequestBody body;
    const Result<wire::LockQueuesRequest> request = read_batch(call, body);
    const Result<LogOffset> end = request ? unlock_all(*request) : request.error();
    if (!end) {
        call.fail(end.error(), ResponseCode::kSystemError);
        return;
    }
    call.reply_when_durable(*end);
}

void QueueLockHandler::lock(Call& call, const wire::LockQueuesRequest& request) {
    Status checked = check(request);
    checked = checked ? check_lease(request.leasemillis()) : checked;
    wire::LockQueuesResponse response;
    const Result<LogOffset> end =
        checked ? lock_all(request, true, response) : Result<LogOffset>(checked.error());
    if (!end) {
        call.fail(end.error());
        return;
    }
    call.loop.when_durable(
        *end, [&loop = call.loop, to = call.addressee(), response](const Status& status) {
            if (status) {
                loop.reply(to, ResponseCode::kSuccess, {}, &response);
            } else {
                loop.fail(to, status.error());
            }
        });
}

void QueueLockHandler::unlock(Call& call, const wire::LockQueuesRequest& request) {
    const Status checked = check(request);
    const Result<LogOffset> end =
        checked ? unlock_all(request) : Result<LogOffset>(checked.error());
    if (!end) {
        call.fail(end.error());
        return;
    }
    call.reply_when_durable(*end);
}

}  // namespace gantry::broker
