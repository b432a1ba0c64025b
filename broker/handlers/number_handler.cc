// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/number_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/header.h"
#include "protocol/wire/numbers/send_span.h"
#include "storage/producers/send_numbers.h"

#include <string>

namespace gantry::broker {

void NumberHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(wire::RequestCode::kListSendNumbers, *this, &NumberHandler::list);
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
    answer_from_pool(call, [store = context_.store, topic = request.topic()] {
        Answer answer;
        answer.body = storage::send_numbers_of(*store, topic).SerializeAsString();
        return answer;
    });
}

}  // namespace gantry::broker
