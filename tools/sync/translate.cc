// SPDX-License-Identifier: Apache-2.0
#include "sync/translate.h"

#include "cli/table.h"
#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/copy/copy_producer.h"
#include "protocol/wire/names.h"
#include "sync/cluster.h"
#include "sync/copy/marks.h"
#include "sync/copy/progress.h"
#include "sync/queue_reader.h"
#include "sync/topics.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

using client::QueueId;
using Offsets = std::map<QueueId, std::int64_t>;

/// Finds a group's place at the target of one route.
class Translation {
public:
    static Result<Translation> open(const SyncConfig& config, const RouteConfig& route) {
        GANTRY_ASSIGN_OR_RETURN(QueueReader source,
                                QueueReader::open(config.clusters.at(route.from)));
        GANTRY_ASSIGN_OR_RETURN(QueueReader target,
                                QueueReader::open(config.clusters.at(route.to)));
        GANTRY_ASSIGN_OR_RETURN(auto producer, client::CopyProducer::create(target.client(), {}));
        Translation translation(route, std::move(source), std::move(target), std::move(producer));
        for (const RouteConfig& other : config.routes) {
            if (other.from == route.to && other.to == route.from && other.rename == "{topic}" &&
                route.rename == "{topic}") {
                translation.ways_back_.push_back(other);
            }
        }
        return translation;
    }

    /// Where the group is at the source, in the topics of the route.
    Result<Offsets> committed(const std::string& group) {
        GANTRY_ASSIGN_OR_RETURN(const auto admin,
                                client::AdminClient::create(source_.client(), {}));
        GANTRY_ASSIGN_OR_RETURN(
            Offsets offsets,
            is_rocketmq(*source_.client()) ? ask_each(*admin, group) : ask_all(*admin, group));
        if (offsets.empty()) {
            return nothing_committed(*admin, group);
        }
        std::set<std::string> topics;
        for (const auto& [queue, offset] : offsets) {
            topics.insert(queue.topic);
        }
        for (const std::string& topic : topics) {  // brokers that it has read nothing of count, too
            GANTRY_ASSIGN_OR_RETURN(const auto queues, source_.consumer().queues(topic));
            for (const QueueId& queue : queues) {
                offsets.try_emplace(queue, 0);
            }
        }
        return offsets;
    }

    /// Where it goes on at the target.
    Result<Offsets> translate(const Offsets& committed) {
        Offsets found;
        for (const auto& [queue, offset] : committed) {
            GANTRY_TRY(translate_queue(queue, offset, found));
        }
        for (const auto& [queue, offset] : committed) {
            GANTRY_TRY(add_others(route_.target_of(queue.topic), found));
        }
        for (auto& [queue, offset] : found) {
            std::int64_t limit = 0;  // what was first sent here the group has not had
            if (const RouteConfig* const back = way_back(queue.topic); back != nullptr) {
                GANTRY_ASSIGN_OR_RETURN(limit, limit_of(queue, *back, committed));
                offset = std::min(offset, limit);
            }
            GANTRY_ASSIGN_OR_RETURN(offset, first_not_had(queue, offset, limit, committed));
        }
        return found;
    }

    /// kConflict: members of the group run at the target.
    Status check_stopped(const std::string& group) {
        GANTRY_ASSIGN_OR_RETURN(const auto admin,
                                client::AdminClient::create(target_.client(), {}));
        if (is_rocketmq(*target_.client())) {
            return ok();  // it is not asked who is there
        }
        const Result<client::GroupStatus> status = admin->describe_group(group);
        if (!status || status->members.empty()) {
            const bool is_unknown = !status && status.error().code == Errc::kNotFound;
            return status || is_unknown ? ok() : Status(status.error());
        }
        return Error{Errc::kConflict,
                     "group " + group + " has " + std::to_string(status->members.size()) +
                         " member(s) at " + route_.to +
                         ", which would commit over the offsets: stop them first"};
    }

    /// What the group has committed at the target, in the queues of `offsets`; -1: nothing.
    Result<Offsets> held(const std::string& group, const Offsets& offsets) {
        GANTRY_ASSIGN_OR_RETURN(const auto consumer, committer(group));
        Offsets held;
        for (const auto& [queue, offset] : offsets) {
            GANTRY_ASSIGN_OR_RETURN(const auto before, consumer->committed(queue));
            held[queue] = before.value_or(-1);
        }
        return held;
    }

    /// Commits at the target what is ahead of `held`.
    Status apply(const std::string& group, const Offsets& offsets, const Offsets& held) {
        GANTRY_ASSIGN_OR_RETURN(const auto consumer, committer(group));
        if (is_rocketmq(*target_.client())) {
            GANTRY_ASSIGN_OR_RETURN(const auto admin,
                                    client::AdminClient::create(target_.client(), {}));
            GANTRY_TRY(make_group(*admin, group));
        }
        for (const auto& [queue, offset] : offsets) {
            if (held.at(queue) < offset) {
                GANTRY_TRY(consumer->commit(queue, offset));
            }
        }
        return ok();
    }

private:
    Translation(RouteConfig route,
                QueueReader source,
                QueueReader target,
                std::unique_ptr<client::CopyProducer> producer)
        : route_(std::move(route)),
          source_(std::move(source)),
          target_(std::move(target)),
          producer_(std::move(producer)) {}

    /// The route that brings the topic's messages to the source; null: none does.
    const RouteConfig* way_back(const std::string& topic) const {
        const auto found =
            std::find_if(ways_back_.begin(), ways_back_.end(), [&topic](const RouteConfig& back) {
                return back.takes(topic);
            });
        return found == ways_back_.end() ? nullptr : &*found;
    }

    Result<Offsets> ask_all(client::AdminClient& admin, const std::string& group) const {
        const Result<client::GroupStatus> status = admin.describe_group(group);
        if (!status && status.error().code != Errc::kNotFound) {
            return Error{status.error().code,
                         "cluster " + route_.from + ": " + status.error().detail};
        }
        Offsets offsets;
        for (const client::GroupQueueProgress& progress :
             status ? status->queues : std::vector<client::GroupQueueProgress>{}) {
            if (route_.takes(progress.queue.topic) && progress.consumer_offset >= 0) {
                offsets[progress.queue] = progress.consumer_offset;
            }
        }
        return offsets;
    }

    /// RocketMQ tells a group's offset in a queue.
    Result<Offsets> ask_each(client::AdminClient& admin, const std::string& group) {
        client::PullConsumer::Options options;
        options.group = group;
        GANTRY_ASSIGN_OR_RETURN(const auto consumer,
                                client::PullConsumer::create(source_.client(), options));
        GANTRY_ASSIGN_OR_RETURN(const std::vector<std::string> topics, admin.list_topics());
        Offsets offsets;
        for (const std::string& topic : topics) {
            if (!route_.takes(topic)) {
                continue;
            }
            GANTRY_ASSIGN_OR_RETURN(const std::vector<QueueId> queues, consumer->queues(topic));
            for (const QueueId& queue : queues) {
                GANTRY_ASSIGN_OR_RETURN(const auto offset, consumer->committed(queue));
                if (offset) {
                    offsets[queue] = *offset;
                }
            }
        }
        return offsets;
    }

    Error nothing_committed(client::AdminClient& admin, const std::string& group) const {
        const auto brokers = admin.cluster();
        if (!brokers || brokers->empty()) {
            return {Errc::kGone, "cluster " + route_.from + ": no broker is registered"};
        }
        return {Errc::kNotFound,
                "group " + group + " has committed nothing at " + route_.from +
                    " in the topics of route " + route_.name};
    }

    Result<std::unique_ptr<client::PullConsumer>> committer(const std::string& group) {
        client::PullConsumer::Options options;
        options.group = group;
        return client::PullConsumer::create(target_.client(), options);
    }

    /// All target queues that have copies of one source queue: the least place in each counts.
    Status translate_queue(const QueueId& queue, std::int64_t offset, Offsets& found) {
        GANTRY_ASSIGN_OR_RETURN(
            const std::vector<QueueId> targets,
            producer_->has_numbers() ? numbered_targets(queue) : pinned_targets(queue));
        for (const QueueId& target : targets) {
            GANTRY_ASSIGN_OR_RETURN(const auto place, place_of(target, queue, offset));
            if (place) {
                const auto known = found.try_emplace(target, *place).first;
                known->second = std::min(known->second, *place);
            }
        }
        return ok();
    }

    /// Those whose brokers know the numbers of its copies.
    Result<std::vector<QueueId>> numbered_targets(const QueueId& queue) {
        const std::string topic = route_.target_of(queue.topic);
        const std::uint64_t stream = stream_of(route_.name, route_.from, queue);
        GANTRY_ASSIGN_OR_RETURN(const std::vector<QueueId> all, producer_->queues(topic));
        std::set<std::string> brokers;
        for (const QueueId& target : all) {
            brokers.insert(target.broker);
        }
        std::vector<QueueId> targets;
        for (const std::string& broker : brokers) {
            GANTRY_ASSIGN_OR_RETURN(const auto positions, producer_->positions(topic, broker));
            for (const client::StreamPosition& position : positions) {
                if (position.stream == stream) {
                    targets.push_back({topic, broker, position.queue});
                }
            }
        }
        return targets;
    }

    /// Where brokers know no numbers: the one that the route keeps it in, or, by key, any.
    Result<std::vector<QueueId>> pinned_targets(const QueueId& queue) {
        GANTRY_ASSIGN_OR_RETURN(std::vector<QueueId> targets,
                                producer_->queues(route_.target_of(queue.topic)));
        if (route_.queues == QueueMapping::kByKey) {
            return targets;
        }
        client::PullConsumer::Options options;
        options.group = Progress::pin_group_of(route_);
        GANTRY_ASSIGN_OR_RETURN(const auto pins,
                                client::PullConsumer::create(source_.client(), options));
        GANTRY_ASSIGN_OR_RETURN(const auto pin, pins->committed(queue));
        std::erase_if(targets, [&pin](const QueueId& one) { return pin != pin_of(one); });
        return targets;
    }

    /// The target queues that no copy has come to: what is in them was first sent there.
    Status add_others(const std::string& topic, Offsets& found) {
        const bool goes_back = way_back(topic) != nullptr;
        GANTRY_ASSIGN_OR_RETURN(const std::vector<QueueId> targets, producer_->queues(topic));
        for (const QueueId& target : targets) {
            if (found.count(target) == 0) {
                GANTRY_ASSIGN_OR_RETURN(found[target],
                                        goes_back ? target_.consumer().max_offset(target)
                                                  : target_.consumer().min_offset(target));
            }
        }
        return ok();
    }

    /// Where the first copy of `source` from `offset` on is in `target`; behind all there are; no
    /// place: there is no copy of it.
    Result<std::optional<std::int64_t>> place_of(const QueueId& target,
                                                 const QueueId& source,
                                                 std::int64_t offset) {
        GANTRY_ASSIGN_OR_RETURN(std::int64_t low, target_.consumer().min_offset(target));
        GANTRY_ASSIGN_OR_RETURN(std::int64_t high, target_.consumer().max_offset(target));
        bool has_copies = producer_->has_numbers();
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            GANTRY_ASSIGN_OR_RETURN(
                const auto next,
                target_.first(
                    target,
                    middle,
                    high,
                    [&](const std::optional<CopiedFrom>& from, const client::MessageView& message) {
                        return from && from->queue == source && came_from(message, route_.from);
                    }));
            has_copies = has_copies || next.has_value();
            if (!next || parse_from(next->property(mark::kFrom))->offset >= offset) {
                high = middle;
            } else {
                low = next->queue_offset() + 1;
            }
        }
        if (!has_copies) {
            return std::optional<std::int64_t>();
        }
        GANTRY_TRY(pass_repeats(target, {source, offset}, high));
        return std::optional(high);
    }

    /// A dead daemon's last batch may have come late: copies that are there already, among newer
    /// ones. So `place` may be behind them, though what is before it is not done.
    Status pass_repeats(const QueueId& target, const CopiedFrom& begin, std::int64_t& place) {
        constexpr std::int64_t kBatch = client::CopyProducer::kBatchMessagesMax;
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t min, target_.consumer().min_offset(target));
        bool is_first = producer_->has_numbers();  // no number is stored twice
        while (!is_first) {
            GANTRY_ASSIGN_OR_RETURN(const auto before,
                                    target_.first(target,
                                                  std::max(min, place - kBatch),
                                                  place,
                                                  [&](const std::optional<CopiedFrom>& from,
                                                      const client::MessageView& message) {
                                                      return from && from->queue == begin.queue &&
                                                             from->offset >= begin.offset &&
                                                             came_from(message, route_.from);
                                                  }));
            is_first = !before;
            place = before ? before->queue_offset() : place;
        }
        return ok();
    }

    /// The first message from `offset` on that the group has not had; the end: none. What is no
    /// copy it has had below `limit`.
    Result<std::int64_t> first_not_had(const QueueId& target,
                                       std::int64_t offset,
                                       std::int64_t limit,
                                       const Offsets& committed) {
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t end, target_.consumer().max_offset(target));
        GANTRY_ASSIGN_OR_RETURN(
            const auto next,
            target_.first(
                target,
                offset,
                end,
                [&](const std::optional<CopiedFrom>& from, const client::MessageView& message) {
                    if (!from || !came_from(message, route_.from)) {
                        return message.queue_offset() >= limit;
                    }
                    const auto done = committed.find(from->queue);
                    return done == committed.end() || from->offset >= done->second;
                }));
        return next ? next->queue_offset() : std::max(offset, end);
    }

    /// The first message of a target queue that came to the source by the way back, and that the
    /// group has not had there.
    Result<std::int64_t> limit_of(const QueueId& target,
                                  const RouteConfig& back,
                                  const Offsets& committed) {
        GANTRY_ASSIGN_OR_RETURN(const auto progress, committer(Progress::group_of(back)));
        GANTRY_ASSIGN_OR_RETURN(const auto done, progress->committed(target));
        std::int64_t limit = done.value_or(0);
        for (const auto& [queue, offset] : committed) {
            if (queue.topic != target.topic) {
                continue;
            }
            GANTRY_ASSIGN_OR_RETURN(const std::int64_t end, source_.consumer().max_offset(queue));
            GANTRY_ASSIGN_OR_RETURN(
                const auto next,
                source_.first(
                    queue,
                    offset,
                    end,
                    [&](const std::optional<CopiedFrom>& from, const client::MessageView& message) {
                        return from && from->queue == target && came_from(message, route_.to);
                    }));
            if (next) {
                limit = std::min(limit, parse_from(next->property(mark::kFrom))->offset);
            }
        }
        return limit;
    }

    RouteConfig route_;
    std::vector<RouteConfig> ways_back_;
    QueueReader source_;
    QueueReader target_;
    std::unique_ptr<client::CopyProducer> producer_;
};

/// The route of that name.
Result<RouteConfig> route_named(const SyncConfig& config, std::string_view name) {
    std::string names;
    for (const RouteConfig& route : config.routes) {
        if (route.name == name) {
            return route;
        }
        names += (names.empty() ? "" : ", ") + route.name;
    }
    return Error{Errc::kNotFound,
                 "no route is named \"" + std::string(name) + "\"; the file has " +
                     (names.empty() ? "none" : names)};
}

std::string table_of(const Offsets& offsets, const Offsets& held) {
    cli::Table table({"TOPIC", "BROKER", "QUEUE", "OFFSET", "HAD"});
    for (const auto& [queue, offset] : offsets) {
        const std::int64_t had = held.at(queue);
        table.add({queue.topic,
                   queue.broker,
                   std::to_string(queue.queue),
                   std::to_string(offset),
                   had < 0 ? "-" : std::to_string(had)});
    }
    return table.text();
}

}  // namespace

Result<std::string> translate(const SyncConfig& config,
                              std::string_view route,
                              const std::string& group,
                              Apply apply) {
    if (const Status name = wire::check_group_name(group); !name) {
        return name.error();
    }
    GANTRY_ASSIGN_OR_RETURN(const RouteConfig found, route_named(config, route));
    GANTRY_ASSIGN_OR_RETURN(Translation translation, Translation::open(config, found));
    GANTRY_ASSIGN_OR_RETURN(const Offsets committed, translation.committed(group));
    GANTRY_ASSIGN_OR_RETURN(const Offsets offsets, translation.translate(committed));
    if (apply == Apply::kIfStopped) {
        GANTRY_TRY(translation.check_stopped(group));
    }
    GANTRY_ASSIGN_OR_RETURN(const Offsets held, translation.held(group, offsets));
    if (apply != Apply::kNot) {
        GANTRY_TRY(translation.apply(group, offsets, held));
    }
    return table_of(offsets, held);
}

}  // namespace gantry::sync
