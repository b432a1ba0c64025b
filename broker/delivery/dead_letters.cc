// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/dead_letters.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/topic_creator.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"

#include <span>

namespace gantry::broker {

std::string retry_properties(const wire::Record& original) {
    std::string properties = wire::without_property(original.properties, wire::property::kDelay);
    if (!properties.empty() && properties.back() != wire::kPropertySeparator) {
        properties += wire::kPropertySeparator;
    }
    if (wire::find_property(properties, wire::property::kRetryTopic).empty()) {
        (void)wire::append_property(properties, wire::property::kRetryTopic, original.topic);
    }
    if (wire::find_property(properties, wire::property::kOriginMessageId).empty()) {
        const std::string id = wire::format_message_id({original.store_host, original.log_offset});
        (void)wire::append_property(properties, wire::property::kOriginMessageId, id);
    }
    return properties;
}

Result<LogOffset> DeadLetters::append(LoopState& loop,
                                      std::string_view group,
                                      const wire::Record& original,
                                      std::int32_t reconsume_times) {
    GANTRY_ASSIGN_OR_RETURN(storage::Topic* const topic, creator_.ensure_dead_letter(loop, group));
    storage::Queue* const queue = topic->queue(0);
    if (queue == nullptr) {
        return Error{Errc::kNotFound, "topic[" + topic->name() + "] has no queue"};
    }
    const std::string properties = retry_properties(original);
    wire::Record copy = original;
    copy.prepared_transaction_offset = 0;  // it is not what ended a transaction
    copy.topic = topic->name();
    copy.queue_id = 0;
    copy.reconsume_times = reconsume_times;
    copy.properties = properties;
    GANTRY_ASSIGN_OR_RETURN(
        const storage::Appended appended,
        context_.store->append_messages(*queue, std::span<const wire::Record>(&copy, 1)));
    loop.appended(*queue, appended.end);
    context_.counters.dead_letters.add();
    return appended.end;
}

}  // namespace gantry::broker
