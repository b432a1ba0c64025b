// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/topic.pb.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::broker {

struct Context;

/// Keeps every nameserver's picture of this broker right, over one connection each: everything at
/// connection and whenever a nameserver holds another version, changes otherwise, heartbeats in
/// between. A nameserver that is down delays nobody.
///
/// With replication the master registers as id 0 and a slave as its member number, with the epoch,
/// the highest of which wins; a slave looks at every heartbeat whether its topics are still those.
///
/// Threads   topic_put, topic_deleted, topics_changed, when_announced, is_registered: any. The
///           links live on the first loop.
/// Lifetime  the loop outlives it; stop before the loop stops.
class Registrar {
public:
    static constexpr std::chrono::milliseconds kAnnounceWait{1'000};

    Registrar(Context& context, net::EventLoop& loop);
    ~Registrar();
    Registrar(const Registrar&) = delete;
    Registrar& operator=(const Registrar&) = delete;

    /// Starts dialling. Before the loop runs, or on it.
    void start();

    /// Notes a topic that was made or changed, or deleted: the last note of a name counts. Topics
    /// that are never routed are passed over. Nothing is sent before topics_changed().
    void topic_put(const wire::TopicConfig& config);
    void topic_deleted(const std::string& name);
    /// Sends what topic_put and topic_deleted gathered.
    void topics_changed();

    /// Calls `done` on the first loop when every connected nameserver knows all changes so far, at
    /// the latest after kAnnounceWait.
    void when_announced(UniqueFunction<void()> done);

    /// True when no nameserver is configured or at least one knows this broker.
    bool is_registered() const noexcept {
        return registered_count_.load(std::memory_order_acquire) > 0 || links_.empty();
    }

    /// Takes the broker off every nameserver and calls `done` when they answered, at the latest
    /// after kAnnounceWait. Any thread.
    void unregister(UniqueFunction<void()> done);

private:
    /// Name to configuration; nothing for a removed topic.
    using Changes = std::map<std::string, std::optional<wire::TopicConfig>>;

    /// One nameserver.
    struct Link {
        std::unique_ptr<net::Channel> channel;
        wire::DataVersion known;      ///< the version it confirmed
        std::int64_t epoch = 0;       ///< that it was told with that
        std::uint64_t announced = 0;  ///< the change number that version stands for
        Changes changes;              ///< since then
        bool is_registered = false;
        bool is_busy = false;  ///< a registration is under way
    };

    struct Waiter {
        std::uint64_t change = 0;
        UniqueFunction<void()> done;
        SteadyTime deadline;
    };

    void make_link(const std::string& address);
    void on_link_state(Link& link, bool is_up);
    void take_changes_in_loop(const Changes& changes);
    void send(Link& link);
    void send_full(Link& link);
    void send_delta(Link& link);
    void call(Link& link, net::Request request, const wire::DataVersion& next);
    void on_answer(Link& link, std::uint64_t change, const Result<net::Received>& answer);
    void tick();
    void heartbeat(Link& link);
    void set_registered(Link& link, bool is_registered);
    void unregister_in_loop(const std::shared_ptr<UniqueFunction<void()>>& done);
    void check_waiters();
    /// Whether what was registered is over: another epoch, or topics that came by replication.
    bool is_outdated(const Link& link) const;
    wire::BrokerIdentity identity() const;
    wire::RegisterBrokerRequest registration() const;
    void fill_topics(wire::TopicConfigTable& table) const;

    Context& context_;
    net::EventLoop& loop_;
    net::Timer heartbeat_timer_;
    net::Timer waiter_timer_;
    std::vector<std::unique_ptr<Link>> links_;
    std::atomic<std::size_t> registered_count_{0};
    std::uint64_t change_number_ = 1;  ///< of the newest change handed over to the loop
    std::list<Waiter> waiters_;
    bool is_stopping_ = false;

    Mutex mutex_;
    Changes gathered_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::broker
