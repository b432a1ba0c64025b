// SPDX-License-Identifier: Apache-2.0
#include "sync/check.h"

#include "cli/table.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/copy/copy_producer.h"
#include "sync/cluster.h"
#include "sync/copy/marks.h"
#include "sync/topics.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace gantry::sync {
namespace {

using client::MessageSelector;

/// Whether the source takes the filter's expression.
Status check_filter(const SyncConfig& config, const RouteConfig& route, const std::string& topic) {
    if (route.filter.kind() != MessageSelector::Kind::kSql) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(auto client, connect(config.clusters.at(route.from)));
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, client::PullConsumer::create(client, {}));
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer->queues(topic));
    return consumer->assign(std::move(queues), route.filter);
}

/// The streams that the target's brokers know to the topic; none where they know no numbers. An
/// error when one of them should, and does not.
Result<std::set<std::uint64_t>> streams_to(const SyncConfig& config,
                                           const RouteConfig& route,
                                           const std::string& topic) {
    GANTRY_ASSIGN_OR_RETURN(auto client, connect(config.clusters.at(route.to)));
    GANTRY_ASSIGN_OR_RETURN(const auto producer, client::CopyProducer::create(client, {}));
    GANTRY_ASSIGN_OR_RETURN(const auto queues, producer->queues(topic));
    std::set<std::string> asked;
    std::set<std::uint64_t> streams;
    if (!producer->has_numbers()) {
        return streams;
    }
    for (const client::QueueId& queue : queues) {
        if (asked.insert(queue.broker).second) {
            const auto known = producer->positions(topic, queue.broker);
            if (!known) {
                return Error{known.error().code,
                             "broker " + queue.broker + ": " + known.error().detail};
            }
            for (const client::StreamPosition& position : *known) {
                streams.insert(position.stream);
            }
        }
    }
    return streams;
}

/// Whether the first frame of a queue can stand for all offsets below the first message.
Status check_span(const RouteConfig& route, const client::QueueStatus& queue) {
    constexpr std::int64_t kMost = client::CopiedFrame::kSpanMax;
    const bool is_last = route.start.kind == client::StartFrom::Kind::kLast;
    const std::int64_t begin = is_last ? queue.max_offset : queue.min_offset;
    if (begin < kMost) {
        return ok();
    }
    return Error{Errc::kRefused,
                 "queue " + std::to_string(queue.queue.queue) + " on " + queue.queue.broker +
                     " begins at offset " + std::to_string(begin) +
                     ": the first frame of a copy stands for at most " + std::to_string(kMost)};
}

/// What a route with a RocketMQ cluster does not have of what others have; empty: it has all.
std::string limits_of(const RouteConfig& route, const Ends& ends) {
    std::string text;
    const std::string begin = "note: route " + route.name + ": ";
    for (const auto& [is_rocketmq, cluster] : {std::pair{ends.source_is_rocketmq, route.from},
                                               std::pair{ends.target_is_rocketmq, route.to}}) {
        if (is_rocketmq) {
            text += begin + cluster +
                    " is spoken to as RocketMQ: requests are not signed, attributes of topics stay "
                    "behind\n";
        }
    }
    if (ends.target_is_rocketmq) {
        text += begin + route.to +
                " refuses nothing that it has: after an error or a kill a little is repeated, and "
                "what it loses itself is not noticed\n";
    }
    return text;
}

/// Which route copies what to where: by "cluster/topic cluster/topic filter".
using Takers = std::map<std::string, std::string>;

/// One route's rows and problems.
class RouteCheck {
public:
    RouteCheck(const SyncConfig& config,
               const RouteConfig& route,
               cli::Table& table,
               Takers& takers)
        : config_(config), route_(route), table_(table), takers_(takers) {}

    std::vector<std::string> run() {
        Result<Ends> ends = Ends::connect(config_, route_);
        if (!ends) {
            note("", ends.error());
            return problems_;
        }
        for (const auto& [admin, cluster] : {std::pair{ends->source.get(), route_.from},
                                             std::pair{ends->target.get(), route_.to}}) {
            const auto brokers = admin->cluster();
            if (!brokers || brokers->empty()) {
                note("cluster " + cluster,
                     brokers ? Error{Errc::kGone, "no broker is registered"} : brokers.error());
                return problems_;
            }
        }
        notes_ = limits_of(route_, *ends);
        const auto topics = topics_of(*ends, route_);
        if (!topics) {
            note("cluster " + route_.from, topics.error());
        } else if (topics->empty()) {
            if (!is_fed()) {
                note("topics", {Errc::kNotFound, "none fits in cluster " + route_.from});
            }
        } else {
            for (const std::string& topic : *topics) {
                check_topic(*ends, topic);
            }
        }
        return problems_;
    }

    /// After run: what is as it must be, and worth knowing.
    const std::string& notes() const { return notes_; }

private:
    void note(const std::string& where, const Error& error) {
        problems_.push_back("route " + route_.name + (where.empty() ? "" : ", " + where) + ": " +
                            to_string(error));
    }

    /// Whether another route may bring the source its topics.
    bool is_fed() const {
        return std::any_of(
            config_.routes.begin(), config_.routes.end(), [this](const RouteConfig& other) {
                return other.to == route_.from && other.create_topics;
            });
    }

    void check_topic(Ends& ends, const std::string& topic) {
        const auto found = look_up(ends, route_, topic);
        if (!found) {
            note("topic " + topic, found.error());
            return;
        }
        check_alone(*found);
        const bool is_missing = found->target_queues == 0;
        table_.add({route_.name,
                    route_.from + '/' + topic,
                    route_.to + '/' + found->target,
                    std::to_string(found->source_queues),
                    is_missing ? "-" : std::to_string(found->target_queues),
                    is_missing ? (route_.create_topics ? "is made" : "is missing") : "ok"});
        if (is_missing && !route_.create_topics) {
            note("topic " + found->target,
                 {Errc::kNotFound, "missing in " + route_.to + ", and create_topics is false"});
        }
        if (const Status filter = check_filter(config_, route_, topic); !filter) {
            note("topic " + topic + ", filter_sql", filter.error());
        }
        std::set<std::uint64_t> streams;
        if (!is_missing) {
            auto known = streams_to(config_, route_, found->target);
            if (!known) {
                note("topic " + found->target, known.error());
                return;
            }
            streams = std::move(known).value();
        }
        if (!ends.target_is_rocketmq) {
            check_spans(ends, topic, streams);
        }
    }

    /// Two routes that copy the same messages to the same topic would copy each twice.
    void check_alone(const RouteTopic& topic) {
        const std::string what = route_.from + '/' + topic.source + ' ' + route_.to + '/' +
                                 topic.target + ' ' + route_.filter.expression();
        const auto [other, is_first] = takers_.try_emplace(what, route_.name);
        if (!is_first) {
            note("topic " + topic.source,
                 {Errc::kConflict, "route " + other->second + " copies it, too: each twice"});
        }
    }

    /// `streams`: those that have begun, for which it does not matter where the queue does.
    void check_spans(Ends& ends, const std::string& topic, const std::set<std::uint64_t>& streams) {
        const auto status = ends.source->topic_status(topic);
        if (!status) {
            note("topic " + topic, status.error());
            return;
        }
        for (const client::QueueStatus& queue : *status) {
            const bool has_begun =
                streams.count(stream_of(route_.name, route_.from, queue.queue)) != 0;
            if (const Status fits = check_span(route_, queue); !fits && !has_begun) {
                note("topic " + topic, fits.error());
            }
        }
    }

    const SyncConfig& config_;
    const RouteConfig& route_;
    cli::Table& table_;
    Takers& takers_;
    std::vector<std::string> problems_;
    std::string notes_;
};

}  // namespace

Checked check_routes(const SyncConfig& config) {
    cli::Table table({"ROUTE", "FROM", "TO", "QUEUES", "THERE", "TARGET"});
    Takers takers;
    std::string notes;
    std::string wrong;
    Checked checked;
    for (const RouteConfig& route : config.routes) {
        RouteCheck check(config, route, table, takers);
        for (const std::string& problem : check.run()) {
            wrong += problem + '\n';
            ++checked.problems;
        }
        notes += check.notes();
    }
    const std::size_t routes = config.routes.size();
    const std::string good = "good: " + (routes == 0 ? "no" : std::to_string(routes)) +
                             (routes == 1 ? " route\n" : " routes\n");
    checked.text = (table.rows() == 0 ? "" : table.text()) + notes + wrong +
                   (checked.problems == 0 ? good : "");
    return checked;
}

}  // namespace gantry::sync
