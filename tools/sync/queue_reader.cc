// SPDX-License-Identifier: Apache-2.0
#include "sync/queue_reader.h"

#include "sync/cluster.h"

#include <chrono>
#include <vector>

namespace gantry::sync {
namespace {

constexpr std::chrono::seconds kPollWait{3};
constexpr std::uint32_t kReadAtOnce = 256;

}  // namespace

Result<QueueReader> QueueReader::open(const ClusterConfig& cluster) {
    QueueReader reader;
    GANTRY_ASSIGN_OR_RETURN(reader.client_, connect(cluster));
    client::PullConsumer::Options reading;
    reading.start_from.kind = client::StartFrom::Kind::kFirst;
    reading.pull_messages_max = kReadAtOnce;
    reading.poll_hold = std::chrono::milliseconds(1'000);
    GANTRY_ASSIGN_OR_RETURN(reader.consumer_,
                            client::PullConsumer::create(reader.client_, reading));
    return reader;
}

Result<std::optional<client::MessageView>> QueueReader::first(const client::QueueId& queue,
                                                              std::int64_t from,
                                                              std::int64_t to,
                                                              const Wanted& wanted) {
    if (from >= to) {
        return std::optional<client::MessageView>();
    }
    GANTRY_TRY(consumer_->assign({queue}));
    GANTRY_TRY(consumer_->seek(queue, from));
    for (;;) {
        const std::vector<client::MessageView> messages = consumer_->poll(kPollWait, kReadAtOnce);
        for (const client::MessageView& message : messages) {
            const auto copied = parse_from(message.property(mark::kFrom));
            if (message.queue_offset() < to && wanted(copied, message)) {
                return std::optional(message);
            }
        }
        if (consumer_->position(queue) >= to) {
            return std::optional<client::MessageView>();
        }
        if (messages.empty()) {
            return Error{Errc::kTimeout,
                         "queue " + std::to_string(queue.queue) + " of topic " + queue.topic +
                             " on " + queue.broker + " gives nothing"};
        }
    }
}

}  // namespace gantry::sync
