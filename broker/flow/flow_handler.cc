// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/flow_handler.h"

#include "broker/dispatcher.h"
#include "broker/topic_creator.h"
#include "protocol/wire/header.h"
#include "storage/state_machine.h"

namespace gantry::broker {

using wire::RequestCode;
using wire::ResponseCode;

void FlowHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kSetFlowLimit, *this, &FlowHandler::set);
    dispatcher.add(RequestCode::kListFlowLimits, *this, &FlowHandler::list);
}

void FlowHandler::set(Call& call) {
    wire::StateRecord record;
    wire::FlowLimit& limit = *record.add_changes()->mutable_flowput();
    if (const Status decoded = wire::decode_body(call.to.codec, call.body(), limit); !decoded) {
        call.fail(decoded.error(), ResponseCode::kSystemError);
        return;
    }
    if (limit.scope() == "topic" && !limit.name().empty() && !limit.removed() &&
        context_.store->find_topic(limit.name()) == nullptr) {
        call.fail(ResponseCode::kTopicNotExist, "topic[" + limit.name() + "] not exist");
        return;
    }
    const Result<storage::Appended> logged = creator_.commit(call.loop, record);
    if (!logged) {
        call.fail(logged.error(), ResponseCode::kSystemError);
        return;
    }
    call.reply_when_durable(logged->end);
}

void FlowHandler::list(Call& call) {
    wire::FlowLimitList list;
    for (wire::FlowLimit& limit : context_.store->state().flow_limits()) {
        *list.add_limits() = std::move(limit);
    }
    for (wire::FlowLimit& limit : context_.flow.defaults()) {
        *list.add_defaults() = std::move(limit);
    }
    call.reply_body(list);
}

}  // namespace gantry::broker
