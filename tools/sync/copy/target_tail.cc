// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/target_tail.h"

#include "client/consumer.h"
#include "common/clock.h"
#include "sync/copy/marks.h"

#include <algorithm>
#include <utility>

namespace gantry::sync {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMessagesMax = 256;
constexpr std::size_t kBytesMax = 256U << 10U;
constexpr std::int64_t kFirstLook = 4;  // mostly the last message says it
constexpr std::int64_t kGrowth = 4;
constexpr milliseconds kHold{1'000};

/// Messages [from, to) of the queue that the consumer reads.
Result<std::vector<client::MessageView>> read(client::PullConsumer& consumer,
                                              const client::QueueId& queue,
                                              std::pair<std::int64_t, std::int64_t> range,
                                              SteadyTime deadline) {
    GANTRY_TRY(consumer.seek(queue, range.first));
    std::vector<client::MessageView> all;
    while (consumer.position(queue) < range.second) {
        const SteadyTime now = std::chrono::steady_clock::now();
        if (now >= deadline) {
            return Error{Errc::kTimeout,
                         "the end of queue " + std::to_string(queue.queue) + " of topic " +
                             queue.topic + " on " + queue.broker + " could not be read"};
        }
        const auto left = std::chrono::ceil<milliseconds>(deadline - now);
        for (client::MessageView& message : consumer.poll(std::min(left, kHold))) {
            if (message.queue_offset() < range.second) {
                all.push_back(std::move(message));
            }
        }
    }
    return all;
}

}  // namespace

TargetTail::TargetTail(std::shared_ptr<client::Client> client, const RouteConfig& route)
    : client_(std::move(client)),
      route_(route.name),
      from_(route.from),
      timeout_(route.timeout_ms) {}

Result<std::optional<std::int64_t>> TargetTail::position(const client::QueueId& target,
                                                         const client::QueueId& source) const {
    client::PullConsumer::Options options;
    options.pull_messages_max = kMessagesMax;
    options.pull_bytes_max = kBytesMax;
    options.poll_hold = kHold;
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, client::PullConsumer::create(client_, options));
    GANTRY_ASSIGN_OR_RETURN(const std::int64_t min, consumer->min_offset(target));
    GANTRY_ASSIGN_OR_RETURN(const std::int64_t end, consumer->max_offset(target));
    const std::int64_t first = std::max(min, end - kMessagesMax);
    if (first >= end) {
        return std::optional<std::int64_t>();
    }
    GANTRY_TRY(consumer->assign({target}));
    const SteadyTime deadline = std::chrono::steady_clock::now() + timeout_;
    std::size_t bytes = 0;
    std::int64_t to = end;
    for (std::int64_t look = kFirstLook; to > first && bytes < kBytesMax; look *= kGrowth) {
        const std::int64_t from = std::max(first, to - look);
        GANTRY_ASSIGN_OR_RETURN(const auto messages, read(*consumer, target, {from, to}, deadline));
        if (const auto found = position_in(messages, route_, from_, source); found) {
            return found;
        }
        for (const client::MessageView& message : messages) {
            bytes += message.body().size() + message.raw_properties().size();
        }
        to = from;
    }
    return std::optional<std::int64_t>();
}

std::optional<std::int64_t> position_in(const std::vector<client::MessageView>& messages,
                                        std::string_view route,
                                        std::string_view from,
                                        const client::QueueId& source) {
    std::optional<std::int64_t> position;
    for (const client::MessageView& message : messages) {
        const auto copied = parse_from(message.property(mark::kFrom));
        if (copied && copied->queue == source && came_from(message, from) &&
            message.property(mark::kRoute) == route) {
            position = std::max(position.value_or(0), copied->offset + 1);
        }
    }
    return position;
}

}  // namespace gantry::sync
