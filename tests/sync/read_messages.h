// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/record_reader.h"
#include "client/message.h"
#include "common/ids.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace gantry::sync::test {

/// More than the rules of these tests allow a frame.
inline constexpr std::int64_t kFrameBytes = 1'000'000;

/// A message of queue 1 of topic "T" on broker "b" as a consumer gets it.
inline client::MessageView message_at(std::int64_t offset,
                                      const std::string& body,
                                      const std::map<std::string, std::string>& properties = {}) {
    std::string text;
    for (const auto& [name, value] : properties) {
        REQUIRE(wire::append_property(text, name, value));
    }
    wire::Record record;
    record.topic = "T";
    record.queue_id = 1;
    record.queue_offset = QueueOffset(offset);
    record.born_ms = 1'000 + offset;
    record.born_host = {{10, 1, 2, 3}, false, 4'567};
    record.store_ms = 2'000 + offset;
    record.flag = 7;
    record.body = as_bytes(body);
    record.properties = text;
    auto bytes = std::make_shared<std::string>(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes->data()), bytes->size()});
    client::ReceivedBody origin;
    origin.pin = bytes;
    origin.broker = "b";
    client::RecordReader reader(as_bytes(*bytes),
                                std::make_shared<const client::ReceivedBody>(std::move(origin)));
    client::MessageView message;
    REQUIRE(reader.next(message));
    return message;
}

}  // namespace gantry::sync::test
