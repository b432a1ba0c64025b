// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/consumer.h"
#include "client/copy/copy_producer.h"
#include "common/result.h"
#include "sync/config/config.h"
#include "sync/copy/queue_copier.h"
#include "sync/copy/target_tail.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::sync {

/// What to find out before a queue is copied.
struct Question {
    client::QueueId source;
    std::string target_topic;
    std::uint64_t stream = 0;
    std::vector<client::QueueId> targets;  ///< empty: not known yet, as the next two
    std::int64_t floor = 0;
    std::int64_t covered = 0;
    bool is_inherited = false;  ///< the queue was begun before
};

/// Where a route is in its queues, as both clusters have it.
///
///   target   the numbers of the frames it has stored, in the messages themselves: the truth. One
///            that knows no numbers: what the copies at the end of its queue say of themselves
///   source   offsets committed by three groups
///              GANTRY_SYNC_<route>          all below is done: stored, or not wanted
///              GANTRY_SYNC_<route>-covered  the target's numbers when that was so: if the target
///                                           has less now it has lost messages, and the first says
///                                           nothing
///              GANTRY_SYNC_<route>-target   which queues of the target: they stay the same while
///                                           brokers come and go
///
/// Threads   any; every call blocks.
class Progress {
public:
    /// Errors: of the options of consumers and producers.
    static Result<std::unique_ptr<Progress>> create(const RouteConfig& route,
                                                    const std::shared_ptr<client::Client>& source,
                                                    std::shared_ptr<client::Client> target);

    /// Answers the question. kGone: a broker is away. kNotFound: a topic is missing.
    Result<Recovery> find(const Question& question);
    /// Writes down how far a queue is.
    Status commit(const client::QueueId& source, std::int64_t done, std::int64_t covered);

    client::CopyProducer& producer() noexcept { return *producer_; }

    /// The consumer group that reads for the route.
    static std::string group_of(const RouteConfig& route);
    /// That, and those which only have offsets.
    static std::vector<std::string> groups_of(const RouteConfig& route);
    /// The group that says which queues of the target.
    static std::string pin_group_of(const RouteConfig& route);

private:
    Progress(const RouteConfig& route, bool is_vague, std::shared_ptr<client::Client> target);

    Result<std::optional<std::int64_t>> pin_of_queue(const client::QueueId& source);
    Status find_begin(Question& question);
    Status find_numbers(const Question& question, Recovery& found);
    Status find_marks(const Question& question, Recovery& found);
    Result<std::int64_t> start_offset(const client::QueueId& source);
    Result<std::vector<client::QueueId>> targets_of(const Question& question,
                                                    std::optional<std::int64_t> pin);
    Result<std::size_t> rank_of(const client::QueueId& source);

    const RouteConfig route_;
    const bool is_vague_;  ///< the source may call 0 what was never committed
    const TargetTail tail_;
    std::unique_ptr<client::PullConsumer> done_;
    std::unique_ptr<client::PullConsumer> covered_;
    std::unique_ptr<client::PullConsumer> pins_;
    std::unique_ptr<client::CopyProducer> producer_;
};

/// A number for the target queues of a source queue, to be committed as an offset: the queue's
/// own, or that of all of them.
std::int64_t pin_of(const client::QueueId& target);
std::int64_t pin_of(const std::vector<client::QueueId>& targets);

}  // namespace gantry::sync
