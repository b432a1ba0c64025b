// SPDX-License-Identifier: Apache-2.0
#include "client/share/broker_shares.h"

#include "client/consume/selector_check.h"
#include "client/core/runtime.h"
#include "common/log.h"
#include "protocol/wire/share.pb.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kSlack{3'000};  // beyond the broker's hold until it counts as stuck
constexpr milliseconds kLeaveLimit{3'000};
constexpr milliseconds kRetry{20};  // doubles with each further failure
constexpr milliseconds kRetryMax{1'000};
constexpr std::uint32_t kDoublingsMax = 6;
constexpr milliseconds kUnsupportedRetry{30'000};
constexpr milliseconds kQuick{5};   // an answer that nothing has changed takes longer
constexpr milliseconds kDrain{10};  // between looks at what is being finished

void put(wire::SharedQueue& into, const QueueId& queue, std::int64_t token) {
    into.set_topic(queue.topic);
    into.set_queueid(queue.queue);
    into.set_token(token);
}

/// Calls `then` when the last copy is gone.
std::shared_ptr<BrokerShares::Then> when_all_done(BrokerShares::Then then) {
    return {std::make_unique<BrokerShares::Then>(std::move(then)).release(),
            [](BrokerShares::Then* last) {
                const std::unique_ptr<BrokerShares::Then> owned(last);
                (*owned)();
            }};
}

}  // namespace

BrokerShares::BrokerShares(Runtime& runtime,
                           Options options,
                           std::weak_ptr<ShareHolder> holder,
                           std::function<void(bool)> on_change)
    : runtime_(runtime),
      options_(std::move(options)),
      holder_(std::move(holder)),
      on_change_(std::move(on_change)) {}

BrokerShares::~BrokerShares() = default;

std::map<std::string, std::vector<BrokerShares::Topic>> BrokerShares::topics_by_broker() const {
    std::map<std::string, std::vector<Topic>> found;
    for (const auto& [name, selector] : options_.subscriptions) {
        const RoutePtr route = runtime_.routes().cached(name);
        if (route == nullptr) {
            continue;
        }
        std::map<std::string, std::int32_t> queues;  // in the order that all members have
        for (const QueueId& queue : route->read_queues) {
            ++queues[queue.broker];
        }
        std::int32_t before = 0;
        for (const auto& [broker, count] : queues) {
            found[broker].push_back({name, before, queues.size() == 1});
            before += count;
        }
    }
    return found;
}

void BrokerShares::follow() {
    if (has_ended_) {
        return;
    }
    for (auto& [broker, topics] : topics_by_broker()) {
        std::unique_ptr<Link>& link = links_[broker];
        if (link != nullptr && link->topics == topics) {
            continue;
        }
        if (link == nullptr) {
            link = std::make_unique<Link>();
            link->broker = broker;
        }
        link->topics = std::move(topics);
        ask(*link);
    }
}

void BrokerShares::set_computed(const std::set<QueueId>& queues) {
    for (auto& [broker, link] : links_) {
        std::set<QueueId> own;
        for (const QueueId& queue : queues) {
            if (queue.broker == broker) {
                own.insert(queue);
            }
        }
        const bool is_new = own != link->computed;
        link->computed = std::move(own);
        if (is_new && link->mode == Mode::kByClients && link->generation != 0) {
            ask(*link);
        }
    }
}

bool BrokerShares::rules(const std::string& broker) const {
    const auto found = links_.find(broker);
    return found == links_.end() || found->second->mode != Mode::kByClients;
}

void BrokerShares::collect(std::set<QueueId>& into) const {
    for (const auto& [broker, link] : links_) {
        for (const auto& [queue, held] : link->held) {
            if (!held.drains_until) {
                into.insert(queue);
            }
        }
    }
}

wire::ShareQueuesRequest BrokerShares::request_of(const Link& link) const {
    wire::ShareQueuesRequest fields;
    fields.set_consumergroup(options_.group);
    fields.set_clientid(runtime_.client_id());
    fields.set_generation(link.generation);
    for (const Topic& topic : link.topics) {
        auto& added = *fields.add_topics();
        added.set_topic(topic.name);
        added.set_subversion(options_.subscription_version);
        const MessageSelector& selector = options_.subscriptions.at(topic.name);
        added.set_expressiontype(std::string(type_of(selector)));
        added.set_expression(selector.expression());
        added.set_queuesbefore(topic.queues_before);
        added.set_isonlyhere(topic.is_only_here);
    }
    for (const auto& [queue, held] : link.held) {
        if (held.released) {
            wire::SharedQueue& released = *fields.add_released();
            put(released, queue, held.token);
            released.set_offset(*held.released);
        } else {
            put(*fields.add_held(), queue, held.token);
        }
    }
    if (link.mode == Mode::kByClients) {
        for (const QueueId& queue : link.computed) {
            put(*fields.add_held(), queue, 0);
        }
    }
    return fields;
}

void BrokerShares::ask(Link& link) {
    if (has_ended_) {
        return;
    }
    const std::string address = runtime_.routes().master_of(link.broker);
    const std::uint64_t asked = ++link.asked;
    link.asked_at = std::chrono::steady_clock::now();
    if (address.empty()) {
        failed(link, Error{Errc::kGone, "no route names broker " + link.broker});
        return;
    }
    const wire::ShareQueuesRequest fields = request_of(link);
    runtime_.control().channel(address).call(
        {wire::RequestCode::kShareQueues, &fields, {}},
        link.heartbeat / 2 + kSlack,
        [self = shared_from_this(), to = &link, asked, address](Result<net::Received>& result) {
            if (!self->has_ended_ && to->asked == asked) {
                self->answered(*to, fields_of<wire::ShareQueuesResponse>(result, address));
            }
        });
}

void BrokerShares::ask_after(Link& link, milliseconds pause) {
    if (link.timer == nullptr) {
        link.timer = std::make_unique<net::Timer>(runtime_.control().loop(),
                                                  [this, to = &link] { ask(*to); });
    }
    link.timer->start_once(pause);
}

void BrokerShares::failed(Link& link, const Error& error) {
    kLog.debug("share_unknown",
               {{"group", options_.group}, {"broker", link.broker}, {"error", error}});
    if (error.code == Errc::kUnsupported) {
        rule_by_clients(link);
        ask_after(link, kUnsupportedRetry);
        return;
    }
    const std::uint32_t doublings = std::min(link.failures++, kDoublingsMax);
    ask_after(link, std::min(kRetry * (1U << doublings), kRetryMax));
}

void BrokerShares::answered(Link& link, const Result<wire::ShareQueuesResponse>& answer) {
    if (!answer) {
        failed(link, answer.error());
        return;
    }
    link.failures = 0;
    link.heartbeat = milliseconds(std::max<std::int64_t>(answer->heartbeatms(), 1));
    const bool is_news = answer->generation() != link.generation;
    link.generation = answer->generation();
    if (answer->byclients()) {
        rule_by_clients(link);
    } else {
        take(link, *answer);
        // Behind that, so that nothing of a queue that is lost is handed out once more.
        if (const auto holder = holder_.lock(); holder != nullptr) {
            holder->on_lease(link.broker, link.asked_at + 2 * link.heartbeat);
        }
    }
    const bool is_quick = std::chrono::steady_clock::now() - link.asked_at < kQuick;
    if (is_news || !is_quick) {
        ask(link);
    } else {
        ask_after(link, kRetry);
    }
}

void BrokerShares::rule_by_clients(Link& link) {
    if (link.mode == Mode::kByClients) {
        return;
    }
    link.mode = Mode::kByClients;
    const auto holder = holder_.lock();
    if (holder != nullptr) {
        for (const auto& [queue, held] : std::exchange(link.held, {})) {
            holder->on_granted(queue, 0);
            if (held.drains_until && !held.released) {
                holder->end_release(queue, true);
            }
        }
        holder->on_lease(link.broker, SteadyTime::max());
    }
    kLog.info("queues_shared_by_clients", {{"group", options_.group}, {"broker", link.broker}});
    on_change_(true);
}

/// What was taken away without a word, and what was and has been granted anew: that begins again at
/// the committed offset.
void BrokerShares::drop_lost(Link& link, const std::map<QueueId, std::int64_t>& granted) {
    const auto holder = holder_.lock();
    bool any = false;
    for (auto at = link.held.begin(); at != link.held.end();) {
        const auto found = granted.find(at->first);
        if (found != granted.end() && found->second == at->second.token) {
            ++at;
            continue;
        }
        if (!at->second.released) {
            kLog.warn("queue_lost",
                      {{"group", options_.group},
                       {"topic", at->first.topic},
                       {"queue", at->first.queue},
                       {"token", at->second.token}});
            if (at->second.drains_until && holder != nullptr) {
                holder->end_release(at->first, true);
            }
        }
        at = link.held.erase(at);
        any = true;
    }
    if (any) {
        on_change_(false);
    }
}

void BrokerShares::take(Link& link, const wire::ShareQueuesResponse& answer) {
    const bool was_by_clients = std::exchange(link.mode, Mode::kByBroker) == Mode::kByClients;
    const auto holder = holder_.lock();
    if (holder == nullptr) {
        return;
    }
    std::map<QueueId, std::int64_t> granted;
    for (const wire::SharedQueue& queue : answer.queues()) {
        granted[{queue.topic(), link.broker, queue.queueid()}] = queue.token();
    }
    drop_lost(link, granted);
    bool any = was_by_clients;
    for (const auto& [queue, token] : granted) {
        if (link.held.try_emplace(queue, Held{token, {}, {}}).second) {
            holder->on_granted(queue, token);
            any = true;
        }
    }
    if (any) {
        on_change_(was_by_clients);
    }
    for (const wire::SharedQueue& queue : answer.queues()) {
        if (queue.revoked()) {
            revoke(link, {queue.topic(), link.broker, queue.queueid()});
        }
    }
}

void BrokerShares::revoke(Link& link, const QueueId& queue) {
    Held& held = link.held[queue];
    const auto holder = holder_.lock();
    if (held.drains_until || holder == nullptr) {
        return;
    }
    held.drains_until = std::chrono::steady_clock::now() + options_.hand_over_limit;
    holder->begin_release(queue);
    if (drain_timer_ == nullptr) {
        drain_timer_ = std::make_unique<net::Timer>(runtime_.control().loop(), [this] { drain(); });
    }
    if (!std::exchange(is_draining_, true)) {
        drain_timer_->start_once(milliseconds{0});
    }
}

void BrokerShares::drain() {
    const auto holder = holder_.lock();
    is_draining_ = false;
    if (holder == nullptr || has_ended_) {
        return;
    }
    const SteadyTime now = std::chrono::steady_clock::now();
    for (auto& [broker, link] : links_) {
        bool any = false;
        for (auto& [queue, held] : link->held) {
            if (!held.drains_until || held.released) {
                continue;
            }
            const bool by_force = *held.drains_until <= now;
            held.released = holder->end_release(queue, by_force);
            any = any || held.released.has_value();
            is_draining_ = is_draining_ || !held.released;
            if (by_force) {
                kLog.warn("queue_given_back_unfinished",
                          {{"group", options_.group},
                           {"topic", queue.topic},
                           {"queue", queue.queue},
                           {"limit_ms", options_.hand_over_limit.count()}});
            }
        }
        if (any) {
            ask(*link);
        }
    }
    if (is_draining_) {
        drain_timer_->start_once(kDrain);
    }
}

void BrokerShares::leave(Then then) {
    const std::shared_ptr<Then> all_done = when_all_done(std::move(then));
    if (has_ended_) {
        return;
    }
    end();
    for (const auto& [broker, link] : links_) {
        const std::string address = runtime_.routes().master_of(broker);
        if (address.empty()) {
            continue;
        }
        wire::ShareQueuesRequest fields = request_of(*link);
        fields.set_leaves(true);
        net::Channel& channel = runtime_.control().channel(address);
        if (channel.is_up()) {
            channel.call({wire::RequestCode::kShareQueues, &fields, {}},
                         kLeaveLimit,
                         [all_done](Result<net::Received>&) {});
        }
    }
}

void BrokerShares::end() {
    has_ended_ = true;
    on_change_ = nullptr;
    drain_timer_.reset();
    for (const auto& [broker, link] : links_) {
        link->timer.reset();
    }
}

}  // namespace gantry::client
