// SPDX-License-Identifier: Apache-2.0
#include "sync/route.h"

#include "common/log.h"
#include "sync/translate.h"

#include <chrono>
#include <utility>

namespace gantry::sync {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("sync");
constexpr milliseconds kTick{1'000};
constexpr milliseconds kTickFirst{100};  // until there is a topic
constexpr int kTopicsEvery = 3;          // ticks
// A queue that ends below what was copied for that long is another one. A new master of a
// replicated source shows less for a moment: what it does not know yet to be everywhere.
constexpr int kBehindTicks = 10;

}  // namespace

Result<std::unique_ptr<Route>> Route::start(const SyncConfig& config, const RouteConfig& route) {
    auto started = std::unique_ptr<Route>(new Route(config, route));
    auto limits = std::make_shared<RouteLimits>(route);
    const RouteWorker::Ends ends{config.clusters.at(route.from), config.clusters.at(route.to)};
    for (std::int64_t i = 0; i < route.parallelism; ++i) {
        GANTRY_ASSIGN_OR_RETURN(auto worker, RouteWorker::start(route, ends, limits));
        started->workers_.push_back(std::move(worker));
    }
    GANTRY_ASSIGN_OR_RETURN(started->ends_, Ends::connect(config, route));
    started->thread_ = std::thread([raw = started.get()] { raw->run(); });
    kLog.info("route_started", {{"route", route.name}, {"from", route.from}, {"to", route.to}});
    return started;
}

Route::~Route() {
    stop();
}

void Route::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        changed_.notify_all();
    }
    if (!thread_.joinable()) {
        return;
    }
    thread_.join();
    mirrors_.stop();
    for (const auto& worker : workers_) {
        worker->stop();
    }
    kLog.info("route_stopped", {{"route", config_.name}});
}

/// False: it is to stop.
bool Route::wait(milliseconds limit) {
    const SteadyTime until = std::chrono::steady_clock::now() + limit;
    MutexLock lock(mutex_);
    while (!is_stopping_ && lock.wait_until(changed_, until)) {
    }
    return !is_stopping_;
}

void Route::set_problem(const std::string& problem) {
    const MutexLock lock(mutex_);
    if (problem != problem_ && !problem.empty()) {
        kLog.warn("route_problem", {{"route", config_.name}, {"problem", problem}});
    }
    problem_ = problem;
}

void Route::run() {
    set_thread_name("sync-route");
    int tick = 0;
    do {
        if (tick++ % kTopicsEvery == 0 || topics_.empty()) {
            const Status found = find_topics();
            set_problem(found ? "" : to_string(found.error()));
        }
        find_ends();
        mirror();
    } while (wait(topics_.empty() ? kTickFirst : kTick));
}

/// A RocketMQ source commits offsets for groups it knows.
Status Route::make_groups() {
    if (has_groups_ || !ends_.source_is_rocketmq) {
        return ok();
    }
    for (const std::string& group : Progress::groups_of(config_)) {
        GANTRY_TRY(make_group(*ends_.source, group));
    }
    has_groups_ = true;
    return ok();
}

Status Route::find_topics() {
    GANTRY_TRY(make_groups());
    GANTRY_ASSIGN_OR_RETURN(const auto topics, topics_of(ends_, config_));
    Status all = ok();
    for (const std::string& topic : topics) {
        if (topics_.count(topic) != 0) {
            continue;
        }
        if (const Status prepared = prepare(topic); !prepared) {
            all = prepared;
            continue;
        }
        topics_[topic] = config_.target_of(topic);
        kLog.info("topic_found",
                  {{"route", config_.name}, {"topic", topic}, {"target", topics_[topic]}});
    }
    for (const auto& worker : workers_) {
        worker->set_topics(topics_);
    }
    return all;
}

/// The topic is there at the target afterwards.
Status Route::prepare(const std::string& topic) {
    GANTRY_ASSIGN_OR_RETURN(const RouteTopic found, look_up(ends_, config_, topic));
    if (found.target_queues > 0) {
        return ok();
    }
    if (!config_.create_topics) {
        return Error{Errc::kNotFound,
                     "topic " + found.target + " is missing in " + config_.to +
                         ", and create_topics is false"};
    }
    return create_target(ends_, found);
}

void Route::find_ends() {
    std::map<client::QueueId, std::pair<std::int64_t, RouteWorker*>> done;  // before the ends
    for (const auto& worker : workers_) {
        for (const QueueReport& queue : worker->report()) {
            done[queue.source] = {queue.done, worker.get()};
        }
    }
    std::string away;
    for (const auto& [topic, target] : topics_) {
        const auto status = ends_.source->topic_status(topic);
        if (!status) {  // its queues keep the end they had
            away = "topic " + topic + " of " + config_.from + ": " + to_string(status.error());
            continue;
        }
        for (const client::QueueStatus& queue : *status) {
            const auto found = done.find(queue.queue);
            if (found == done.end() || queue.max_offset >= found->second.first) {
                behind_.erase(queue.queue);
            } else if (++behind_[queue.queue] >= kBehindTicks) {
                found->second.second->source_went_back(queue.queue, queue.max_offset);
            }
        }
        const std::string missing = take_ends(topic, *status);
        away = missing.empty() ? away : missing;
    }
    set_away(away);
}

/// Takes the ends over; which queue that was there before is not any more, if one is.
std::string Route::take_ends(const std::string& topic,
                             const std::vector<client::QueueStatus>& status) {
    std::set<client::QueueId> there;
    const MutexLock lock(mutex_);
    for (const client::QueueStatus& queue : status) {
        queue_ends_[queue.queue] = queue.max_offset;
        there.insert(queue.queue);
    }
    for (const auto& [queue, end] : queue_ends_) {
        if (queue.topic == topic && there.count(queue) == 0) {
            return "queue " + std::to_string(queue.queue) + " of topic " + topic + " on " +
                   queue.broker + " of " + config_.from + " is away";
        }
    }
    return {};
}

void Route::set_away(const std::string& away) {
    const MutexLock lock(mutex_);
    if (away != away_ && !away.empty()) {
        kLog.warn("source_away", {{"route", config_.name}, {"problem", away}});
    }
    away_ = away;
}

/// Takes the offsets of the groups that are to follow to the target, now and then.
void Route::mirror() {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (config_.mirror_groups.empty() || now < mirror_due_) {
        return;
    }
    {
        const MutexLock lock(mutex_);
        if (!away_.empty()) {
            return;  // of the queues that are away nobody knows how far a group was
        }
    }
    if (is_mirroring_.exchange(true)) {
        return;
    }
    mirror_due_ = now + std::chrono::seconds(config_.mirror_seconds);
    mirrors_.add([this] {
        for (const std::string& group : config_.mirror_groups) {
            const Result<std::string> done = translate(all_, config_.name, group, Apply::kAnyway);
            if (!done && done.error().code != Errc::kNotFound) {  // it may have begun nothing yet
                kLog.warn("mirror_failed",
                          {{"route", config_.name}, {"group", group}, {"error", done.error()}});
            }
        }
        is_mirroring_.store(false);
    });
}

RouteReport Route::report() const {
    RouteReport report;
    report.name = config_.name;
    report.from = config_.from;
    report.to = config_.to;
    for (const auto& worker : workers_) {
        for (QueueReport& queue : worker->report()) {
            report.queues.push_back(std::move(queue));
        }
    }
    const MutexLock lock(mutex_);
    report.problem = problem_.empty() ? away_ : problem_;
    for (QueueReport& queue : report.queues) {
        const auto end = queue_ends_.find(queue.source);
        queue.end = end == queue_ends_.end() ? -1 : end->second;
    }
    return report;
}

}  // namespace gantry::sync
