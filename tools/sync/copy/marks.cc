// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/marks.h"

#include "common/checksum.h"
#include "protocol/wire/numbers/send_span.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace gantry::sync {
namespace {

namespace property = wire::property;

/// Properties that are not copied: the message's own fields, marks that are written anew, what a
/// broker acts on that has acted already, and what RocketMQ's brokers enter in every message.
constexpr std::array<std::string_view, 35> kNotCopied = {
    property::kKeys,
    property::kTags,
    property::kSendNumber,
    wire::kSendSpan,
    mark::kOrigin,
    mark::kHops,
    mark::kFrom,
    mark::kRoute,
    // It was stored before: how long its first sender waited for that says nothing of the copy.
    property::kWait,
    // It was delayed, and is due. A delivered timer message of RocketMQ's still has these.
    property::kDelay,
    property::kTimerDelaySeconds,
    property::kTimerDelayMs,
    property::kTimerDeliverMs,
    property::kTimerOutMs,
    property::kTimerRollTimes,
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_DELAY_LEVEL",
    "TIMER_DEL_UNIQKEY",
    property::kRealTopic,
    property::kRealQueueId,
    // Its transaction is committed.
    property::kHalf,
    property::kProducerGroup,
    property::kCheckImmunity,
    property::kCheckTimes,
    "TRAN_PREPARED_QUEUE_OFFSET",
    "__transactionId__",
    // Other queues it was stored in, too.
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INNER_BASE",
    // Of the broker, not of the message.
    property::kCluster,
    "MSG_REGION",
    "TRACE_ON",
    "__CRC32#"};

bool is_copied(std::string_view name) noexcept {
    return std::find(kNotCopied.begin(), kNotCopied.end(), name) == kNotCopied.end();
}

/// Whether `list` has `item` between its commas.
bool has_item(std::string_view list, std::string_view item) noexcept {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        if (list.substr(0, end) == item) {
            return true;
        }
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) {
            words.emplace_back(text.substr(0, end));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
}

template <class Number>
bool take_number(std::string_view text, Number& number) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number);
    return !text.empty() && parsed.ec == std::errc{} && parsed.ptr == end;
}

/// Whether the property says when or where from the message was first sent; then `copied` has it.
bool take_birth(std::string_view name, std::string_view value, client::CopiedMessage& copied) {
    if (WallMs born_ms = 0;
        name == client::copied_property::kBornMs && take_number(value, born_ms)) {
        copied.born_ms = born_ms;
        return true;
    }
    if (name == client::copied_property::kBornHost && wire::parse_host(value)) {
        copied.born_host = value;
        return true;
    }
    return false;
}

}  // namespace

bool may_go(const client::MessageView& message,
            std::string_view from,
            std::string_view to,
            bool local_only) {
    const std::string_view origin = message.property(mark::kOrigin);
    if (origin.empty()) {
        return true;
    }
    if (local_only && origin != from) {
        return false;
    }
    return origin != to && !has_item(message.property(mark::kHops), to);
}

bool came_from(const client::MessageView& message, std::string_view cluster) noexcept {
    const std::string_view hops = message.property(mark::kHops);
    return hops.substr(hops.rfind(',') + 1) == cluster;
}

client::CopiedMessage copy_of(const client::MessageView& message,
                              std::string_view from,
                              const client::QueueId& queue,
                              const std::string& target_topic) {
    client::CopiedMessage copied;
    copied.born_ms = message.born_ms();
    copied.born_host = message.born_host();
    client::Message& out = copied.message;
    out.topic = target_topic;
    out.body = message.body();
    out.tag = message.tag();
    out.keys = words_of(message.keys());
    out.flag = message.flag();
    wire::for_each_property(message.raw_properties(),
                            [&](std::string_view name, std::string_view value) {
                                if (is_copied(name) && !take_birth(name, value, copied)) {
                                    out.properties.emplace_back(name, value);
                                }
                            });
    const std::string_view origin = message.property(mark::kOrigin);
    std::string hops(message.property(mark::kHops));
    hops += (hops.empty() ? "" : ",") + std::string(from);
    out.properties.emplace_back(mark::kOrigin, origin.empty() ? from : origin);
    out.properties.emplace_back(mark::kHops, std::move(hops));
    out.properties.emplace_back(mark::kFrom, format_from({queue, message.queue_offset()}));
    return copied;
}

std::optional<CopiedFrom> parse_from(std::string_view text) {
    CopiedFrom from;
    const std::size_t offset = text.rfind('/');
    const std::size_t queue = offset == 0 || offset == std::string_view::npos
                                  ? std::string_view::npos
                                  : text.rfind('/', offset - 1);
    const std::size_t topic = text.find('/');
    if (queue == std::string_view::npos || topic >= queue ||
        !take_number(text.substr(offset + 1), from.offset) ||
        !take_number(text.substr(queue + 1, offset - queue - 1), from.queue.queue)) {
        return std::nullopt;
    }
    from.queue.topic = text.substr(0, topic);
    from.queue.broker = text.substr(topic + 1, queue - topic - 1);
    return from;
}

std::string format_from(const CopiedFrom& from) {
    return from.queue.topic + '/' + from.queue.broker + '/' + std::to_string(from.queue.queue) +
           '/' + std::to_string(from.offset);
}

std::string_view key_of(const client::MessageView& message) noexcept {
    const std::string_view sharding = message.property("__SHARDINGKEY");
    if (!sharding.empty()) {
        return sharding;
    }
    const std::string_view keys = message.keys();
    return keys.substr(0, keys.find(' '));
}

std::uint64_t stream_of(std::string_view route,
                        std::string_view from,
                        const client::QueueId& queue) {
    const std::string text = "gantry-sync " + std::string(route) + ' ' + std::string(from) + ' ' +
                             queue.topic + '/' + queue.broker + '/' + std::to_string(queue.queue);
    return xxh3(as_bytes(text));
}

}  // namespace gantry::sync
