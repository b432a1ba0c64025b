// SPDX-License-Identifier: Apache-2.0
#include "broker/call.h"

#include "protocol/wire/header.h"
#include "protocol/wire/status.h"

#include <utility>

namespace gantry::broker {

void Call::reply(const google::protobuf::Message* fields, std::string_view body) const {
    frame.connection.reply(to, wire::ResponseCode::kSuccess, {}, fields, body);
}

void Call::reply_body(const google::protobuf::Message& body) const {
    std::string bytes;
    wire::append_body(bytes, to.codec, body);
    reply(nullptr, bytes);
}

void Call::fail(wire::ResponseCode code, std::string_view remark) const {
    context.counters.requests_failed.add();
    context.counters.failed_by_class[static_cast<std::size_t>(wire::errc_of(code))]->add();
    frame.connection.reply(to, code, remark);
}

void Call::fail(const Error& error) const {
    fail(error, wire::response_code(error.code, to.codec));
}

void Call::fail(const Error& error, wire::ResponseCode stock) const {
    context.counters.requests_failed.add();
    context.counters.failed_by_class[static_cast<std::size_t>(error.code)]->add();
    const wire::ResponseCode code = is_native() ? wire::response_code(error.code, to.codec) : stock;
    frame.connection.reply(to, code, error.detail);
}

void Call::reply_when_durable(LogOffset end) const {
    loop.when_durable(end, [&at = loop, whom = addressee()](const Status& status) {
        if (status) {
            at.reply(whom, wire::ResponseCode::kSuccess, {});
        } else {
            at.fail(whom, status.error());
        }
    });
}

void answer_from_pool(const Call& call, UniqueFunction<Answer()> work) {
    const Status submitted = call.context.pool.submit(
        [&loop = call.loop, to = call.addressee(), work = std::move(work)]() mutable {
            loop.post([&loop, to, answer = std::make_shared<Answer>(work())] {
                loop.reply(to, answer->code, answer->remark, answer->fields.get(), answer->body);
            });
        });
    if (!submitted) {
        call.fail(submitted.error());
    }
}

}  // namespace gantry::broker
