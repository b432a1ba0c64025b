// SPDX-License-Identifier: Apache-2.0
#include "client/request/pushed_reply.h"

#include "client/consume/record_reader.h"
#include "protocol/wire/header.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <memory>
#include <utility>

namespace gantry::client {

/// As a stored record, which is what a MessageView views.
Result<PushedReply> read_pushed_reply(const net::Received& received) {
    wire::PushReplyMessageRequest fields;
    GANTRY_TRY(wire::decode_fields(received.header, fields));
    PushedReply pushed;
    pushed.correlation_id =
        wire::find_property(fields.properties(), wire::property::kCorrelationId);
    if (pushed.correlation_id.empty()) {
        return Error{Errc::kCorrupt, "a reply without CORRELATION_ID"};
    }
    wire::Record record;
    record.topic = fields.topic();
    record.queue_id = fields.queueid();
    record.flag = fields.flag();
    record.sys_flag = fields.sysflag();
    record.born_ms = fields.borntimestamp();
    record.store_ms = fields.storetimestamp();
    GANTRY_ASSIGN_OR_RETURN(record.born_host, wire::parse_host(fields.bornhost()));
    GANTRY_ASSIGN_OR_RETURN(record.store_host, wire::parse_host(fields.storehost()));
    record.reconsume_times = fields.reconsumetimes();
    record.body = received.body;
    record.properties = fields.properties();
    auto bytes = std::make_shared<std::string>(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes->data()), bytes->size()});
    RecordReader reader(as_bytes(*bytes),
                        std::make_shared<const ReceivedBody>(ReceivedBody{bytes, {}}));
    if (!reader.next(pushed.message)) {
        return reader.status() ? Error{Errc::kCorrupt, "a reply without a message"}
                               : reader.status().error();
    }
    return pushed;
}

}  // namespace gantry::client
