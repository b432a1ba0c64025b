// SPDX-License-Identifier: Apache-2.0
#include "sync/copy/progress.h"

#include "common/checksum.h"
#include "sync/cluster.h"

#include <algorithm>
#include <utility>

namespace gantry::sync {
namespace {

constexpr unsigned kQueueBits = 20;
constexpr std::uint64_t kNameMask = 0x7FFFFFFF;

Result<std::unique_ptr<client::PullConsumer>> offsets_of(std::shared_ptr<client::Client> client,
                                                         const std::string& group) {
    client::PullConsumer::Options options;
    options.group = group;
    return client::PullConsumer::create(std::move(client), options);
}

}  // namespace

std::int64_t pin_of(const client::QueueId& target) {
    const std::uint64_t name = xxh3(as_bytes(target.broker)) & kNameMask;
    return static_cast<std::int64_t>((name << kQueueBits) |
                                     static_cast<std::uint32_t>(target.queue));
}

std::int64_t pin_of(const std::vector<client::QueueId>& targets) {
    std::string all;
    for (const client::QueueId& target : targets) {
        all += target.broker + '/' + std::to_string(target.queue) + ' ';
    }
    return static_cast<std::int64_t>(xxh3(as_bytes(all)) >> 1U);
}

std::string Progress::group_of(const RouteConfig& route) {
    return "GANTRY_SYNC_" + route.name;
}

std::string Progress::pin_group_of(const RouteConfig& route) {
    return group_of(route) + "-target";
}

std::vector<std::string> Progress::groups_of(const RouteConfig& route) {
    return {group_of(route), group_of(route) + "-covered", pin_group_of(route)};
}

Progress::Progress(const RouteConfig& route, bool is_vague, std::shared_ptr<client::Client> target)
    : route_(route), is_vague_(is_vague), tail_(std::move(target), route) {}

Result<std::unique_ptr<Progress>> Progress::create(const RouteConfig& route,
                                                   const std::shared_ptr<client::Client>& source,
                                                   std::shared_ptr<client::Client> target) {
    auto progress = std::unique_ptr<Progress>(new Progress(route, is_rocketmq(*source), target));
    const std::vector<std::string> groups = groups_of(route);
    GANTRY_ASSIGN_OR_RETURN(progress->done_, offsets_of(source, groups[0]));
    GANTRY_ASSIGN_OR_RETURN(progress->covered_, offsets_of(source, groups[1]));
    GANTRY_ASSIGN_OR_RETURN(progress->pins_, offsets_of(source, groups[2]));
    client::CopyProducer::Options options;
    options.group = groups[0];
    options.timeout = std::chrono::milliseconds(route.timeout_ms);
    options.compression = route.compression;
    options.message_bytes_max = 15U << 20U;  // what the target takes is its to say
    GANTRY_ASSIGN_OR_RETURN(progress->producer_,
                            client::CopyProducer::create(std::move(target), options));
    return progress;
}

Result<std::int64_t> Progress::start_offset(const client::QueueId& source) {
    using Kind = client::StartFrom::Kind;
    switch (route_.start.kind) {
        case Kind::kLast:
            return done_->max_offset(source);
        case Kind::kTimestamp:
            return done_->offset_by_time(source, route_.start.timestamp);
        case Kind::kFirst:
            break;
    }
    return done_->min_offset(source);
}

/// The place of a queue among all of its topic.
Result<std::size_t> Progress::rank_of(const client::QueueId& source) {
    GANTRY_ASSIGN_OR_RETURN(const std::vector<client::QueueId> all, done_->queues(source.topic));
    return static_cast<std::size_t>(std::lower_bound(all.begin(), all.end(), source) - all.begin());
}

Result<std::vector<client::QueueId>> Progress::targets_of(const Question& question,
                                                          std::optional<std::int64_t> pin) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<client::QueueId> all,
                            producer_->queues(question.target_topic));
    if (all.empty()) {
        return Error{Errc::kGone, "topic " + question.target_topic + " has no writable queue"};
    }
    if (route_.queues == QueueMapping::kByKey) {
        if (pin && *pin != pin_of(all)) {
            return Error{Errc::kGone,
                         "the queues of topic " + question.target_topic +
                             " are not those the route was begun with: a broker is away, or the "
                             "number of queues was changed"};
        }
        return all;
    }
    if (!pin) {
        GANTRY_ASSIGN_OR_RETURN(const std::size_t rank, rank_of(question.source));
        return std::vector<client::QueueId>{all[rank % all.size()]};
    }
    for (const client::QueueId& queue : all) {
        if (pin_of(queue) == *pin) {
            return std::vector<client::QueueId>{queue};
        }
    }
    return Error{
        Errc::kGone,
        "the queue of topic " + question.target_topic + " that the route was begun with is away"};
}

/// Nothing: the queue was never begun. RocketMQ before 5.0 may say 0 then, which is no pin.
Result<std::optional<std::int64_t>> Progress::pin_of_queue(const client::QueueId& source) {
    GANTRY_ASSIGN_OR_RETURN(auto pin, pins_->committed(source));
    if (is_vague_ && pin == 0) {
        pin.reset();
    }
    return pin;
}

/// What the source has written down; at the very first time, writes down where to begin, and with
/// which queues, before anything is copied.
Status Progress::find_begin(Question& question) {
    GANTRY_ASSIGN_OR_RETURN(const auto floor, done_->committed(question.source));
    GANTRY_ASSIGN_OR_RETURN(const auto covered, covered_->committed(question.source));
    GANTRY_ASSIGN_OR_RETURN(const auto pin, pin_of_queue(question.source));
    if (floor && (pin || !is_vague_ || *floor > 0)) {
        question.floor = *floor;
        question.is_inherited = true;
    } else {
        GANTRY_ASSIGN_OR_RETURN(question.floor, start_offset(question.source));
        GANTRY_TRY(done_->commit(question.source, question.floor));
    }
    question.covered = covered.value_or(0);
    GANTRY_ASSIGN_OR_RETURN(question.targets, targets_of(question, pin));
    if (!pin) {
        const std::int64_t mine = route_.queues == QueueMapping::kByKey
                                      ? pin_of(question.targets)
                                      : pin_of(question.targets.front());
        GANTRY_TRY(pins_->commit(question.source, mine));
    }
    return ok();
}

Status Progress::find_numbers(const Question& question, Recovery& found) {
    std::string broker;
    std::vector<client::StreamPosition> positions;
    for (std::size_t i = 0; i < found.targets.size(); ++i) {  // sorted: a broker's are together
        if (found.targets[i].broker != broker) {
            broker = found.targets[i].broker;
            GANTRY_ASSIGN_OR_RETURN(positions, producer_->positions(question.target_topic, broker));
        }
        for (const client::StreamPosition& position : positions) {
            if (position.stream == question.stream && position.queue == found.targets[i].queue) {
                found.known[i] = position;
            }
        }
    }
    return ok();
}

Status Progress::find_marks(const Question& question, Recovery& found) {
    for (std::size_t i = 0; i < found.targets.size(); ++i) {
        GANTRY_ASSIGN_OR_RETURN(const auto next, tail_.position(found.targets[i], question.source));
        if (next) {
            found.known[i] =
                client::StreamPosition{question.stream, found.targets[i].queue, 0, *next};
        }
    }
    if (question.is_inherited) {
        GANTRY_ASSIGN_OR_RETURN(found.inherited_end, done_->max_offset(question.source));
    }
    return ok();
}

Result<Recovery> Progress::find(const Question& question) {
    Question asked = question;
    if (asked.targets.empty()) {
        GANTRY_TRY(find_begin(asked));
    }
    Recovery found;
    found.targets = asked.targets;
    found.known.resize(asked.targets.size());
    found.floor = asked.floor;
    found.covered = asked.covered;
    GANTRY_TRY(producer_->has_numbers() ? find_numbers(asked, found) : find_marks(asked, found));
    return found;
}

Status Progress::commit(const client::QueueId& source, std::int64_t done, std::int64_t covered) {
    GANTRY_TRY(covered_->commit(source, covered));  // first: it may be too high, not too low
    return done_->commit(source, done);
}

}  // namespace gantry::sync
