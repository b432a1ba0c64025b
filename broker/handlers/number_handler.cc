// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/number_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/header.h"
#include "protocol/wire/numbers.pb.h"
#include "protocol/wire/numbers/send_span.h"
#include "storage/state_machine.h"

#include <string>

namespace gantry::broker {
namespace {

Answer list_of(storage::ProducerTable& table, const std::string& topic) {
    wire::ProducerStates all;
    table.save(all);
    wire::SendNumberList list;
    for (const wire::ProducerQueue& known : all.queues()) {
        if (all.topics(known.topic()) == topic) {
            wire::SendNumberList::Entry& entry = *list.add_entries();
            entry.set_producer(known.producer());
            entry.set_queueid(static_cast<std::uint32_t>(known.queueid()));
            entry.set_epoch(known.epoch());
            entry.set_next(known.next());
        }
    }
    Answer answer;
    answer.body = list.SerializeAsString();
    return answer;
}

}  // namespace

void NumberHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(wire::kListSendNumbers, *this, &NumberHandler::list);
}

void NumberHandler::list(Call& call) {
    wire::ListSendNumbersRequest request;
    if (!call.is_native()) {
        call.fail(wire::ResponseCode::kRequestCodeNotSupported, "10090 is spoken natively only");
        return;
    }
    if (const Status decoded = wire::decode_fields(call.header(), request); !decoded) {
        call.fail(decoded.error());
        return;
    }
    if (context_.store->find_topic(request.topic()) == nullptr) {
        call.fail(wire::ResponseCode::kTopicNotExist, "topic[" + request.topic() + "] not exist");
        return;
    }
    answer_from_pool(call, [&table = context_.store->state().producers(), topic = request.topic()] {
        return list_of(table, topic);
    });
}

}  // namespace gantry::broker
