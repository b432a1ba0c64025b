// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that puts together what is known of one message.
#include "client/admin_client.h"
#include "client/trace/trace_record.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kTracesMax = 1'000;

TraceEvent::Kind kind_of(TraceRecord::Kind kind) {
    switch (kind) {
        case TraceRecord::Kind::kPub:
            return TraceEvent::Kind::kProduce;
        case TraceRecord::Kind::kSubBefore:
            return TraceEvent::Kind::kDeliver;
        case TraceRecord::Kind::kSubAfter:
            return TraceEvent::Kind::kConsume;
        case TraceRecord::Kind::kEndTransaction:
            break;
    }
    return TraceEvent::Kind::kEndTransaction;
}

TraceEvent event_of(TraceRecord&& record) {
    TraceEvent event;
    event.kind = kind_of(record.kind);
    event.at_ms = record.at_ms;
    event.group = std::move(record.group);
    event.where = std::move(record.topic);
    event.store_host = std::move(record.store_host);
    event.offset_message_id = std::move(record.offset_message_id);
    event.request_id = std::move(record.request_id);
    event.state = std::move(record.transaction_state);
    event.cost_ms = record.cost_ms;
    event.retries = record.retries;
    event.is_success = record.is_success;
    return event;
}

/// What the broker that has it knows.
TraceEvent stored_event(const MessageView& message) {
    TraceEvent event;
    event.kind = TraceEvent::Kind::kStore;
    event.at_ms = message.store_ms();
    event.where = std::string(message.topic()) + ' ' + message.broker() + ' ' +
                  std::to_string(message.queue()) + " at " + std::to_string(message.queue_offset());
    event.offset_message_id = message.offset_message_id();
    return event;
}

}  // namespace

Result<std::vector<TraceEvent>> AdminClient::trace(std::string_view message_id) {
    GANTRY_ASSIGN_OR_RETURN(
        const std::vector<MessageView> messages,
        messages_by_key(
            kTraceTopic, message_id, 0, std::numeric_limits<WallMs>::max(), kTracesMax));
    std::vector<TraceEvent> events;
    std::set<std::string> stored;
    for (const MessageView& message : messages) {
        for (TraceRecord& record : parse_traces(message.body())) {
            if (record.message_id == message_id) {
                stored.insert(record.offset_message_id);
                events.push_back(event_of(std::move(record)));
            }
        }
    }
    stored.erase("");
    for (const std::string& id : stored) {
        // Gone by retention, or its broker is away: the rest is worth telling all the same.
        if (const Result<MessageView> message = message_by_id(id)) {
            events.push_back(stored_event(*message));
        }
    }
    if (events.empty()) {
        return Error{Errc::kNotFound,
                     "no trace of message " + std::string(message_id) +
                         ": not traced, not yet written, or gone by retention"};
    }
    std::stable_sort(events.begin(), events.end(), [](const TraceEvent& a, const TraceEvent& b) {
        return std::pair(a.at_ms, a.kind) < std::pair(b.at_ms, b.kind);
    });
    return events;
}

}  // namespace gantry::client
