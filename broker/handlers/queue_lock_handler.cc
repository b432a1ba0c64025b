// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/queue_lock_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

Status read_request(const Call& call, wire::LockBatchRequestBody& request) {
    GANTRY_TRY(wire::decode_body(call.to.codec, call.body(), request));
    if (request.consumergroup().empty() || request.clientid().empty()) {
        return Error{Errc::kRefused, "consumerGroup or clientId of a queue lock is empty"};
    }
    return ok();
}

}  // namespace

void QueueLockHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kLockBatchMq, *this, &QueueLockHandler::lock);
    dispatcher.add(RequestCode::kUnlockBatchMq, *this, &QueueLockHandler::unlock);
}

void QueueLockHandler::lock(Call& call) {
    wire::LockBatchRequestBody request;
    if (const Status read = read_request(call, request); !read) {
        call.fail(read.error(), ResponseCode::kSystemError);
        return;
    }
    wire::LockBatchResponseBody response;
    for (const wire::MessageQueue& queue : request.mqset()) {
        const bool is_held = context_.locks.lock(
            {request.consumergroup(), queue.topic(), queue.queueid()}, request.clientid());
        if (is_held) {
            *response.add_lockokmqset() = queue;
        }
    }
    call.reply_body(response);
}

void QueueLockHandler::unlock(Call& call) {
    wire::LockBatchRequestBody request;
    if (const Status read = read_request(call, request); !read) {
        call.fail(read.error(), ResponseCode::kSystemError);
        return;
    }
    for (const wire::MessageQueue& queue : request.mqset()) {
        context_.locks.unlock({request.consumergroup(), queue.topic(), queue.queueid()},
                              request.clientid());
    }
    call.reply();
}

}  // namespace gantry::broker
