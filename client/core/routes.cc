// SPDX-License-Identifier: Apache-2.0
#include "client/core/routes.h"

#include "client/core/awaited.h"
#include "client/core/loop_slot.h"
#include "client/core/nameservers.h"
#include "common/log.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");

constexpr milliseconds kAskLimit{3'000};
constexpr milliseconds kWatchHold{30'000};
constexpr milliseconds kWatchSlack{5'000};  // beyond the hold until the server counts as stuck
constexpr milliseconds kWatchDelay{2};      // gathers topics that come into use together
constexpr milliseconds kWatchRetry{200};
constexpr milliseconds kPollPeriod{30'000};
constexpr std::uint32_t kQuickWatchesMax = 5;  // in a row, then they are spaced by kWatchRetry
constexpr std::string_view kTemplateTopic = "TBW102";
constexpr std::int32_t kTemplateQueuesMax = 4;
constexpr std::int32_t kPermRead = 4;
constexpr std::int32_t kPermWrite = 2;

const std::string kNoAddress;

void append_queues(std::vector<QueueId>& queues,
                   std::string_view topic,
                   const std::string& broker,
                   std::int32_t count) {
    for (std::int32_t i = 0; i < count; ++i) {
        queues.push_back(QueueId{std::string(topic), broker, i});
    }
}

std::shared_ptr<wire::TopicRequest> topic_request(std::string_view topic) {
    auto fields = std::make_shared<wire::TopicRequest>();
    fields->set_topic(std::string(topic));
    return fields;
}

}  // namespace

const std::string& BrokerRoute::master() const noexcept {
    const auto found = addresses.find(0);
    return found == addresses.end() ? kNoAddress : found->second;
}

const std::string& BrokerRoute::any() const noexcept {
    return addresses.empty() ? kNoAddress : addresses.begin()->second;
}

const BrokerRoute* TopicRoute::find_broker(std::string_view name) const noexcept {
    const auto found = std::find_if(
        brokers.begin(), brokers.end(), [name](const BrokerRoute& b) { return b.name == name; });
    return found == brokers.end() ? nullptr : &*found;
}

TopicRoute make_route(std::string_view topic, const wire::TopicRouteData& data) {
    TopicRoute route;
    route.topic = topic;
    for (const wire::BrokerData& broker : data.brokerdatas()) {
        BrokerRoute& added = route.brokers.emplace_back();
        added.name = broker.brokername();
        added.cluster = broker.cluster();
        added.epoch = broker.epoch();
        added.addresses.insert(broker.brokeraddrs().begin(), broker.brokeraddrs().end());
    }
    std::sort(route.brokers.begin(), route.brokers.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    for (const wire::QueueData& queues : data.queuedatas()) {
        const BrokerRoute* broker = route.find_broker(queues.brokername());
        if (broker == nullptr) {
            continue;
        }
        if ((queues.perm() & kPermRead) != 0) {
            append_queues(route.read_queues, topic, broker->name, queues.readqueuenums());
        }
        // Also without a master: what is sent waits for one until its deadline.
        if ((queues.perm() & kPermWrite) != 0) {
            append_queues(route.write_queues, topic, broker->name, queues.writequeuenums());
        }
    }
    std::sort(route.read_queues.begin(), route.read_queues.end());
    std::sort(route.write_queues.begin(), route.write_queues.end());
    return route;
}

RouteTable::RouteTable(LoopSlot& slot, Nameservers& nameservers)
    : slot_(slot), nameservers_(nameservers) {}

RouteTable::~RouteTable() = default;

void RouteTable::get(const std::string& topic, bool with_template, OnRoute done) {
    auto waiting = std::make_shared<Waiting>(Waiting{with_template, std::move(done)});
    if (!slot_.post([this, topic, waiting] { get_in_loop(topic, std::move(*waiting)); })) {
        waiting->done(Error{Errc::kBusy, "the client's loop takes no more work"});
    }
}

Result<RoutePtr> RouteTable::wait_for(const std::string& topic) {
    if (RoutePtr route = cached(topic); route != nullptr && !route->is_template) {
        return route;
    }
    return client::wait_for<Result<RoutePtr>>(
        [&](auto done) { get(topic, false, std::move(done)); });
}

void RouteTable::refresh(const std::string& topic) {
    slot_.post([this, topic] { ask_in_loop(topic); });
}

void RouteTable::watch(const std::string& topic) {
    slot_.post([this, topic] {
        follow_in_loop(topic);
        ask_in_loop(topic);
    });
}

RoutePtr RouteTable::cached(const std::string& topic) const {
    const MutexLock lock(mutex_);
    const auto found = routes_.find(topic);
    return found == routes_.end() ? nullptr : found->second;
}

std::string RouteTable::address_of(const std::string& broker) const {
    return reader_of(broker, 0);
}

std::string RouteTable::master_of(const std::string& broker) const {
    const MutexLock lock(mutex_);
    const auto found = brokers_.find(broker);
    return found == brokers_.end() ? kNoAddress : found->second.route.master();
}

std::string RouteTable::reader_of(const std::string& broker, std::int64_t id) const {
    const MutexLock lock(mutex_);
    const auto found = brokers_.find(broker);
    if (found == brokers_.end()) {
        return kNoAddress;
    }
    const BrokerRoute& route = found->second.route;
    const auto wanted = route.addresses.find(id);
    return wanted == route.addresses.end() ? route.any() : wanted->second;
}

std::set<std::string> RouteTable::all_addresses() const {
    const MutexLock lock(mutex_);
    std::set<std::string> addresses;
    for (const auto& [name, known] : brokers_) {
        for (const auto& [id, address] : known.route.addresses) {
            addresses.insert(address);
        }
    }
    return addresses;
}

RouteTable::SubscriptionId RouteTable::subscribe(OnChange on_change) {
    const MutexLock lock(mutex_);
    const SubscriptionId id = next_subscription_++;
    subscribers_.emplace(id, std::make_shared<OnChange>(std::move(on_change)));
    return id;
}

void RouteTable::unsubscribe(SubscriptionId id) {
    {
        const MutexLock lock(mutex_);
        subscribers_.erase(id);
    }
    if (!slot_.loop().in_loop()) {
        slot_.run_and_wait([] {});
    }
}

void RouteTable::stop() {
    stopped_ = true;
    poll_timer_.reset();
    watch_timer_.reset();
    for (auto& [topic, asked] : std::exchange(asked_, {})) {
        for (Waiting& waiting : asked.waiting) {
            waiting.done(Error{Errc::kClosed, "the client is shutting down"});
        }
    }
}

void RouteTable::get_in_loop(const std::string& topic, Waiting waiting) {
    RoutePtr route = cached(topic);
    if (route != nullptr && (waiting.with_template || !route->is_template)) {
        waiting.done(std::move(route));
        return;
    }
    asked_[topic].waiting.push_back(std::move(waiting));
    ask_in_loop(topic);
}

void RouteTable::ask_in_loop(const std::string& topic) {
    if (stopped_) {
        return;
    }
    if (std::exchange(asked_[topic].in_flight, true)) {
        return;
    }
    Question question{wire::RequestCode::kGetRouteInfoByTopic, topic_request(topic), {}};
    nameservers_.ask(std::move(question),
                     kAskLimit,
                     milliseconds{0},
                     [this, topic](Result<net::Received>& result, const std::string& address) {
                         const Result<wire::TopicRouteData> body =
                             body_of<wire::TopicRouteData>(result, address);
                         if (body) {
                             answer_in_loop(topic, put_in_loop(make_route(topic, *body)));
                         } else if (body.error().code == Errc::kNotFound) {
                             ask_template_in_loop(topic);
                         } else {
                             answer_in_loop(topic, body.error());
                         }
                     });
}

void RouteTable::ask_template_in_loop(const std::string& topic) {
    if (RoutePtr kept = cached(topic); kept != nullptr) {
        answer_in_loop(topic, kept);
        return;
    }
    const std::vector<Waiting>& waiting = asked_[topic].waiting;
    const bool is_wanted = std::any_of(
        waiting.begin(), waiting.end(), [](const Waiting& w) { return w.with_template; });
    Error missing{Errc::kNotFound, "topic " + topic + " does not exist"};
    if (!is_wanted) {
        answer_in_loop(topic, std::move(missing));
        return;
    }
    Question question{wire::RequestCode::kGetRouteInfoByTopic, topic_request(kTemplateTopic), {}};
    nameservers_.ask(
        std::move(question),
        kAskLimit,
        milliseconds{0},
        [this, topic, missing](Result<net::Received>& result, const std::string& address) {
            Result<wire::TopicRouteData> body = body_of<wire::TopicRouteData>(result, address);
            if (!body) {
                answer_in_loop(topic, missing);
                return;
            }
            for (wire::QueueData& queues : *body->mutable_queuedatas()) {
                queues.set_writequeuenums(std::min(queues.writequeuenums(), kTemplateQueuesMax));
            }
            TopicRoute route = make_route(topic, *body);
            route.read_queues.clear();
            route.is_template = true;
            answer_in_loop(topic, put_in_loop(std::move(route)));
        });
}

void RouteTable::answer_in_loop(const std::string& topic, const Result<RoutePtr>& result) {
    if (stopped_) {
        return;
    }
    Asked asked = std::exchange(asked_[topic], {});
    asked_.erase(topic);
    for (Waiting& waiting : asked.waiting) {
        if (result && (*result)->is_template && !waiting.with_template) {
            waiting.done(Error{Errc::kNotFound, "topic " + topic + " does not exist"});
        } else {
            waiting.done(result);
        }
    }
}

/// Takes in what the route says of its brokers, and puts right what is older than is known.
std::vector<RouteTable::Left> RouteTable::take_brokers(TopicRoute& route) {
    std::vector<Left> left;
    for (BrokerRoute& broker : route.brokers) {
        Known& known = brokers_[broker.name];
        if (broker.epoch < known.route.epoch) {
            broker = known.route;
            continue;
        }
        const bool is_deposed = broker.epoch > known.route.epoch;
        const bool is_other = broker.master() != known.master;
        if (!known.master.empty() && is_other && (is_deposed || !known.has_left)) {
            left.push_back({broker.name, known.master, is_deposed});
            known.has_left = true;
        }
        if (!broker.master().empty()) {
            known.master = broker.master();
            known.has_left = false;
        }
        known.route = broker;
    }
    return left;
}

RoutePtr RouteTable::put_in_loop(TopicRoute route) {
    std::vector<std::shared_ptr<OnChange>> told;
    std::vector<Left> left;
    RoutePtr stored;
    {
        const MutexLock lock(mutex_);
        left = take_brokers(route);
        RoutePtr& at = routes_[route.topic];
        if (at != nullptr && *at == route) {
            return at;
        }
        at = std::make_shared<const TopicRoute>(std::move(route));
        stored = at;
        for (const auto& [id, on_change] : subscribers_) {
            told.push_back(on_change);
        }
    }
    follow_in_loop(stored->topic);
    for (const std::shared_ptr<OnChange>& on_change : told) {
        (*on_change)(stored);
    }
    // Last: what fails because of it finds the new route.
    for (const Left& one : left) {
        if (on_master_left_) {
            on_master_left_(one.broker, one.address, one.is_deposed);
        }
    }
    return stored;
}

void RouteTable::follow_in_loop(const std::string& topic) {
    if (stopped_ || !versions_.emplace(topic, 0).second) {
        return;
    }
    if (poll_timer_ == nullptr) {
        poll_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { poll_in_loop(); });
        poll_timer_->start_every(kPollPeriod);
        watch_timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { watch_in_loop(); });
    }
    watch_timer_->start_once(kWatchDelay);
}

void RouteTable::poll_in_loop() {
    if (watch_supported_) {
        return;
    }
    for (const auto& [topic, version] : versions_) {
        ask_in_loop(topic);
    }
}

void RouteTable::watch_in_loop() {
    if (stopped_ || !watch_supported_) {
        return;
    }
    auto fields = std::make_shared<wire::WatchRoutesRequest>();
    fields->set_suspendtimeoutmillis(kWatchHold.count());
    for (const auto& [topic, version] : versions_) {
        wire::WatchRoutesRequest::Entry& entry = *fields->add_topics();
        entry.set_topic(topic);
        entry.set_version(version);
    }
    watch_started_ = std::chrono::steady_clock::now();
    const std::uint64_t generation = ++watch_generation_;
    nameservers_.ask_one(
        nameservers_.best(),
        Question{wire::RequestCode::kWatchRoutes, std::move(fields), {}},
        kWatchHold + kWatchSlack,
        [this, generation](Result<net::Received>& result, const std::string& address) {
            // A newer watch covers the topics of this one too.
            if (generation == watch_generation_) {
                watched_in_loop(body_of<wire::WatchRoutesBody>(result, address), address);
            }
        });
}

void RouteTable::watched_in_loop(const Result<wire::WatchRoutesBody>& answer,
                                 const std::string& address) {
    if (stopped_) {
        return;
    }
    if (!answer) {
        // Versions of one nameserver mean nothing to another, or to the same one restarted.
        for (auto& [topic, version] : versions_) {
            version = 0;
        }
        watch_supported_ = answer.error().code != Errc::kUnsupported;
        kLog.debug("route_watch_failed", {{"nameserver", address}, {"error", answer.error()}});
        nameservers_.report_failure(address);
        watch_timer_->start_once(kWatchRetry);
        return;
    }
    for (const wire::WatchRoutesBody::Entry& entry : answer->changed()) {
        versions_[entry.topic()] = entry.version();
        if (entry.exists()) {
            put_in_loop(make_route(entry.topic(), entry.route()));
        }
    }
    const bool was_quick = std::chrono::steady_clock::now() - watch_started_ < kWatchRetry;
    quick_watches_ = was_quick ? quick_watches_ + 1 : 0;
    watch_timer_->start_once(quick_watches_ > kQuickWatchesMax ? kWatchRetry : milliseconds{0});
}

}  // namespace gantry::client
