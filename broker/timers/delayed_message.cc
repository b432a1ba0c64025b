// SPDX-License-Identifier: Apache-2.0
#include "broker/timers/delayed_message.h"

#include "broker/delivery/delay_service.h"
#include "protocol/wire/delay/recall_handle.h"
#include "protocol/wire/properties.h"
#include "storage/timers/timers.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace gantry::broker {

namespace {

constexpr std::int64_t kNumberMax = std::numeric_limits<std::int64_t>::max() / 4'000;

Result<std::int64_t> number_of(std::string_view name, std::string_view text) {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec != std::errc{} || parsed.ptr != end || value < 0 || value > kNumberMax) {
        return Error{Errc::kRefused,
                     "property " + std::string(name) + " \"" + std::string(text) +
                         "\" is no number of 0 or more"};
    }
    return value;
}

void append_to(std::string& out, std::string_view name, std::string_view value) {
    out.append(name);
    out.push_back(wire::kNameValueSeparator);
    out.append(value);
    out.push_back(wire::kPropertySeparator);
}

/// Whether the broker sets it itself while a message waits.
bool is_of_waiting(std::string_view name) noexcept {
    return name == wire::property::kRealTopic || name == wire::property::kRealQueueId ||
           name == wire::property::kTimerOutMs || name == wire::property::kTimerRollTimes;
}

std::string random_key(Random& random) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string key;
    for (int half = 0; half < 2; ++half) {
        std::uint64_t bits = random.next();
        for (int i = 0; i < 16; ++i, bits >>= 4U) {
            key.push_back(kHex[bits & 0xFU]);
        }
    }
    return key;
}

/// What of a message's properties says when it is due.
struct Asked {
    std::string_view name;
    std::string_view value;
};

Asked asked_of(std::string_view properties) noexcept {
    for (const std::string_view name : {wire::property::kTimerDelaySeconds,
                                        wire::property::kTimerDelayMs,
                                        wire::property::kTimerDeliverMs}) {
        if (const auto value = wire::find_property(properties, name); !value.empty()) {
            return {name, value};
        }
    }
    return {};
}

Status check_due(const Asked& asked,
                 std::string_view properties,
                 WallMs due,
                 WallMs now,
                 std::int64_t ahead_ms_max) {
    if (due - now > ahead_ms_max) {
        return Error{Errc::kRefused,
                     "property " + std::string(asked.name) + ' ' + std::string(asked.value) + ": " +
                         std::to_string(due - now) + " ms ahead > delay.ms_max " +
                         std::to_string(ahead_ms_max) + " ms"};
    }
    const std::string_view expires = wire::find_property(properties, wire::property::kExpiresAt);
    WallMs expires_at = 0;
    std::from_chars(expires.data(), expires.data() + expires.size(), expires_at);
    if (!expires.empty() && expires_at <= due) {
        return Error{Errc::kRefused,
                     "property " + std::string(asked.name) + ' ' + std::string(asked.value) +
                         ": due at " + std::to_string(due) +
                         ", behind the end of its time to live " + std::to_string(expires_at)};
    }
    return ok();
}

}  // namespace

Result<std::optional<WallMs>> due_of(std::string_view properties,
                                     WallMs now,
                                     std::int64_t ahead_ms_max) {
    if (const std::int32_t level = DelayService::level_of(properties); level > 0) {
        return std::optional(now + DelayService::level_ms(level));
    }
    const Asked asked = asked_of(properties);
    if (asked.name.empty()) {
        return std::optional<WallMs>();
    }
    GANTRY_ASSIGN_OR_RETURN(const std::int64_t number, number_of(asked.name, asked.value));
    WallMs due = number;
    if (asked.name == wire::property::kTimerDelaySeconds) {
        due = now + number * 1'000;
    } else if (asked.name == wire::property::kTimerDelayMs) {
        due = now + number;
    }
    if (due <= now) {
        return std::optional<WallMs>();
    }
    GANTRY_TRY(check_due(asked, properties, due, now, ahead_ms_max));
    return std::optional(due);
}

WaitingMessage wait_until_due(const wire::Record& message, WallMs due, Random* random) {
    WaitingMessage waiting;
    waiting.due = storage::timer_tick(due);
    std::string& properties = waiting.properties;
    properties.reserve(message.properties.size() + 128);
    bool has_key = false;
    wire::for_each_property(message.properties, [&](std::string_view name, std::string_view value) {
        has_key = has_key || name == wire::property::kUniqueKey;
        if (!is_of_waiting(name)) {
            append_to(properties, name, value);
        }
    });
    if (!has_key && random != nullptr) {
        append_to(properties, wire::property::kUniqueKey, random_key(*random));
    }
    append_to(properties, wire::property::kTimerOutMs, std::to_string(waiting.due));
    append_to(properties, wire::property::kRealTopic, message.topic);
    append_to(properties, wire::property::kRealQueueId, std::to_string(message.queue_id));
    waiting.record = message;
    waiting.record.topic = storage::kTimerTopic;
    waiting.record.queue_id = 0;
    return waiting;
}

RealPlace real_place(std::string_view waiting, std::string& properties) {
    RealPlace place;
    wire::for_each_property(waiting, [&](std::string_view name, std::string_view value) {
        if (name == wire::property::kRealTopic) {
            place.topic = value;
        } else if (name == wire::property::kRealQueueId) {
            std::from_chars(value.data(), value.data() + value.size(), place.queue_id);
        } else if (!is_of_waiting(name) && name != wire::property::kDelay) {
            append_to(properties, name, value);
        }
    });
    return place;
}

std::string recall_handle_of(std::string_view properties, std::string_view broker) {
    wire::RecallHandle handle;
    wire::for_each_property(properties, [&](std::string_view name, std::string_view value) {
        if (name == wire::property::kUniqueKey) {
            handle.key = value;
        } else if (name == wire::property::kRealTopic) {
            handle.topic = value;
        } else if (name == wire::property::kTimerOutMs) {
            std::from_chars(value.data(), value.data() + value.size(), handle.due);
        }
    });
    handle.broker = broker;
    return handle.key.empty() ? std::string() : wire::format_recall_handle(handle);
}

}  // namespace gantry::broker
