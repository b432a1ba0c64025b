// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/number_handler.h"

#include "broker/dispatcher.h"
#include "protocol/wire/header.h"
#include "protocol/wire/numbers/send_span.h"
#include "storage/producers/send_numbers.h"

#include <memory>
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
    const storage::Topic* const topic = context_.store->find_topic(request.topic());
    if (topic == nullptr) {
        call.fail(wire::ResponseCode::kTopicNotExist, "topic[" + request.topic() + "] not exist");
        return;
    }
    const Status submitted =
        context_.pool.submit([this,
                              &loop = call.loop,
                              to = call.addressee(),
                              at = call.loop.ack_at(*topic),
                              name = request.topic()] { read(loop, to, at, name); });
    if (!submitted) {
        call.fail(submitted.error());
    }
}

/// Answers once what the numbers stand for is as safe as an acknowledged send: a new master has it.
void NumberHandler::read(LoopState& loop,
                         const Addressee& to,
                         AckAt at,
                         const std::string& topic) const {
    auto body = std::make_shared<const std::string>(
        storage::send_numbers_of(*context_.store, topic).SerializeAsString());
    const LogOffset end = context_.store->watermarks().appended;  // behind all of them
    loop.post([&loop, to, at, end, body] {
        loop.when_acked(at, end, [&loop, to, body](const Status& safe) {
            if (!safe) {
                loop.fail(to, safe.error());
                return;
            }
            loop.reply(to, wire::ResponseCode::kSuccess, {}, nullptr, *body);
        });
    });
}

}  // namespace gantry::broker
