// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/consumer.h"
#include "common/mutex.h"
#include "common/random.h"
#include "common/result.h"
#include "sync/config/config.h"
#include "sync/copy/flight_window.h"
#include "sync/copy/pace.h"
#include "sync/copy/progress.h"
#include "sync/copy/queue_copier.h"
#include "sync/copy/task_pool.h"
#include "sync/report/route_stats.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gantry::sync {

/// What the workers of a route share.
struct RouteLimits {
    explicit RouteLimits(const RouteConfig& route)
        : bytes(route.bytes_per_second), messages(route.messages_per_second) {}

    TokenBucket bytes;
    TokenBucket messages;
};

/// One thread of a route, with connections of its own to both clusters. It is a member of the
/// route's consumer group at the source, like the other workers of all daemons that have the route,
/// and copies the queues that fall to it.
///
/// Threads   `sync-copy`, and two that ask brokers; the methods: any.
/// Lifetime  stop, or the destructor, waits until nothing of it runs.
class RouteWorker {
public:
    /// Both clusters.
    struct Ends {
        ClusterConfig source;
        ClusterConfig target;
    };

    /// Starts the threads. Nobody is asked yet, but where a dialect has to be detected.
    static Result<std::unique_ptr<RouteWorker>> start(const RouteConfig& route,
                                                      const Ends& ends,
                                                      std::shared_ptr<RouteLimits> limits);
    ~RouteWorker();
    RouteWorker(const RouteWorker&) = delete;
    RouteWorker& operator=(const RouteWorker&) = delete;

    /// The topics to copy, and what they are called at the target.
    void set_topics(const std::map<std::string, std::string>& topics);
    /// The queue ends below what was copied: it is left alone.
    void source_went_back(const client::QueueId& queue, std::int64_t end);
    /// Its queues, as they were at most half a second ago.
    std::vector<QueueReport> report() const;
    /// Commits, leaves the group, ends the threads.
    void stop();

private:
    /// Something that came from another thread.
    struct Event {
        client::QueueId source;
        std::uint64_t generation = 0;
        Result<Recovery> recovery = Error{Errc::kClosed, ""};  ///< of a question
        std::vector<client::QueueId> asked;  ///< where: none when it was still to be found
        Result<client::SendReceipt> sent = Error{Errc::kClosed, ""};
        client::QueueId target;
        std::int64_t first = 0;
        std::int64_t bytes = 0;  ///< of a frame
        SteadyTime begun_at{};
        SteadyTime ended_at{};
        bool is_send = false;
    };

    struct Mailbox {
        Mutex mutex;
        std::vector<Event> events GANTRY_GUARDED_BY(mutex);
    };

    RouteWorker(const RouteConfig& route, std::shared_ptr<RouteLimits> limits);

    void run();
    void take_topics();
    void take_assignment();
    void take_events();
    void answered(QueueCopier& copier, const Event& event);
    void asked(QueueCopier& copier, const Event& event);
    void ask_where_due();
    void ask(QueueCopier& copier);
    bool read();
    void send();
    std::int64_t send_one(QueueCopier& copier);
    void keep_pace();
    void commit(bool is_last);
    void publish();
    bool may_ask(const QueueCopier& copier, SteadyTime now);
    void judge_all(const Event& event);
    void judge(const std::string& broker, const Status& outcome);
    void measure(const Event& event);
    FlightWindow& window_to(const std::string& broker);

    const RouteConfig route_;
    const std::shared_ptr<RouteLimits> limits_;
    std::shared_ptr<client::Client> source_;
    std::shared_ptr<client::Client> target_;
    std::unique_ptr<client::PullConsumer> consumer_;
    std::unique_ptr<Progress> progress_;
    std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
    std::atomic<bool> is_stopping_{false};
    std::atomic<bool> is_committing_{false};

    mutable Mutex mutex_;
    std::map<std::string, std::string> wanted_ GANTRY_GUARDED_BY(mutex_);
    std::map<client::QueueId, std::int64_t> went_back_ GANTRY_GUARDED_BY(mutex_);
    std::vector<QueueReport> report_ GANTRY_GUARDED_BY(mutex_);

    // The rest belongs to the thread.
    std::map<std::string, std::string> topics_;
    std::map<client::QueueId, std::unique_ptr<QueueCopier>> copiers_;
    std::map<std::string, Circuit> circuits_;  // by target broker
    std::map<std::string, FlightWindow> windows_;
    std::map<client::QueueId, std::int64_t> committed_;
    client::QueueId last_sent_;
    Random random_{random_seed()};
    std::uint32_t commit_rounds_ = 0;
    SteadyTime commit_due_{};
    SteadyTime publish_due_{};

    std::unique_ptr<TaskPool> pool_;  // last: ends before what its tasks use
    std::unique_ptr<TaskPool> commits_;
    std::thread thread_;
};

}  // namespace gantry::sync
