// SPDX-License-Identifier: Apache-2.0
#include "client/consume/group_membership.h"

#include "client/consume/selector_check.h"
#include "client/core/heartbeats.h"
#include "client/core/loop_slot.h"
#include "client/core/runtime.h"
#include "client/share/broker_shares.h"
#include "common/log.h"
#include "protocol/wire/group.pb.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kPeriod{20'000};
constexpr milliseconds kRetry{1'000};
constexpr milliseconds kAskLimit{3'000};

/// As RocketMQ calls it.
std::string start_name(StartFrom::Kind kind) {
    switch (kind) {
        case StartFrom::Kind::kFirst:
            return "CONSUME_FROM_FIRST_OFFSET";
        case StartFrom::Kind::kTimestamp:
            return "CONSUME_FROM_TIMESTAMP";
        case StartFrom::Kind::kLast:
            break;
    }
    return "CONSUME_FROM_LAST_OFFSET";
}

bool is_by_broker(const MembershipOptions& options) {
    return options.sharing.kind == Sharing::Kind::kBroker && !options.is_broadcast &&
           !options.holder.expired();
}

wire::ConsumerData consumer_data(const MembershipOptions& options) {
    wire::ConsumerData data;
    data.set_groupname(options.group);
    data.set_consumetype(options.is_push ? "CONSUME_PASSIVELY" : "CONSUME_ACTIVELY");
    data.set_messagemodel(options.is_broadcast ? "BROADCASTING" : "CLUSTERING");
    data.set_consumefromwhere(start_name(options.start_from));
    data.set_unitmode(false);
    if (is_by_broker(options)) {
        data.set_sharedbybroker(true);
    }
    for (const auto& [topic, selector] : options.subscriptions) {
        wire::SubscriptionData& subscription = *data.add_subscriptiondataset();
        subscription.set_topic(topic);
        subscription.set_subversion(options.subscription_version);
        describe(selector, subscription);
    }
    return data;
}

}  // namespace

/// One computation over all topics.
struct GroupMembership::Round {
    explicit Round(std::shared_ptr<GroupMembership> m) : membership(std::move(m)) {}

    ~Round() { membership->finish_in_loop(*this); }

    Round(const Round&) = delete;
    Round& operator=(const Round&) = delete;

    std::shared_ptr<GroupMembership> membership;
    bool has_failed = false;
};

GroupMembership::GroupMembership(Runtime& runtime,
                                 MembershipOptions options,
                                 OnAssignment on_assignment)
    : runtime_(runtime), options_(std::move(options)), on_assignment_(std::move(on_assignment)) {}

GroupMembership::~GroupMembership() = default;

void GroupMembership::join() {
    for (const auto& [topic, selector] : options_.subscriptions) {
        runtime_.routes().watch(topic);
    }
    subscription_ = runtime_.routes().subscribe([weak = weak_from_this()](const RoutePtr& route) {
        const std::shared_ptr<GroupMembership> self = weak.lock();
        if (self != nullptr && self->options_.subscriptions.count(route->topic) != 0) {
            self->beat_in_loop();
        }
    });
    runtime_.control().post([self = shared_from_this()] {
        self->timer_ = std::make_unique<net::Timer>(
            self->runtime_.control().loop(), [raw = self.get()] { raw->rebalance_in_loop(); });
        self->open_shares_in_loop();
        self->beat_in_loop();
    });
}

void GroupMembership::leave(Then then) {
    runtime_.routes().unsubscribe(subscription_);
    auto shared = std::make_shared<Then>(std::move(then));
    const bool posted = runtime_.control().post([self = shared_from_this(), shared] {
        const std::shared_ptr<BrokerShares> shares = self->broker_shares_;
        const auto unregister = [self, shared] {
            self->runtime_.heartbeats().remove_consumer(self->options_.group, std::move(*shared));
        };
        self->end_in_loop(false);
        if (shares == nullptr) {
            unregister();
        } else {
            shares->leave(unregister);
        }
    });
    if (!posted) {
        (*shared)();
    }
}

void GroupMembership::retire() {
    runtime_.routes().unsubscribe(subscription_);
    runtime_.control().post([self = shared_from_this()] { self->end_in_loop(true); });
}

void GroupMembership::end_in_loop(bool is_silent) {
    has_left_ = true;
    timer_.reset();
    on_assignment_ = nullptr;
    if (broker_shares_ != nullptr && is_silent) {
        broker_shares_->end();
    }
    broker_shares_.reset();
}

void GroupMembership::open_shares_in_loop() {
    if (!is_by_broker(options_) || has_left_) {
        return;
    }
    BrokerShares::Options shares;
    shares.group = options_.group;
    shares.subscriptions = options_.subscriptions;
    shares.subscription_version = options_.subscription_version;
    shares.hand_over_limit = options_.hand_over_limit;
    broker_shares_ = std::make_shared<BrokerShares>(
        runtime_, std::move(shares), options_.holder, [weak = weak_from_this()](bool rules_change) {
            const std::shared_ptr<GroupMembership> self = weak.lock();
            if (self == nullptr) {
                return;
            }
            self->publish_in_loop();
            if (rules_change) {
                self->rebalance_in_loop();
            }
        });
}

void GroupMembership::beat_in_loop() {
    if (has_left_) {
        return;
    }
    runtime_.heartbeats().put_consumer(
        consumer_data(options_),
        [weak = weak_from_this()] {
            if (const std::shared_ptr<GroupMembership> self = weak.lock(); self != nullptr) {
                self->rebalance_in_loop();
            }
        },
        [self = shared_from_this()] { self->rebalance_in_loop(); });
}

void GroupMembership::rebalance_in_loop() {
    if (has_left_ || timer_ == nullptr) {
        return;
    }
    if (std::exchange(is_rebalancing_, true)) {
        must_repeat_ = true;
        return;
    }
    must_repeat_ = false;
    if (broker_shares_ != nullptr) {
        broker_shares_->follow();
    }
    const auto round = std::make_shared<Round>(shared_from_this());
    for (const auto& [topic, selector] : options_.subscriptions) {
        const RoutePtr route = runtime_.routes().cached(topic);
        if (route == nullptr || route->brokers.empty()) {
            continue;
        }
        if (options_.is_broadcast) {
            take_all_in_loop(*route);
        } else {
            ask_members_in_loop(round, route, 0);
        }
    }
}

void GroupMembership::ask_members_in_loop(const std::shared_ptr<Round>& round,
                                          const RoutePtr& route,
                                          std::size_t attempt) {
    if (attempt >= route->brokers.size()) {
        round->has_failed = true;
        return;
    }
    const std::string address = route->brokers[attempt].any();
    wire::ConsumerGroupRequest fields;
    fields.set_consumergroup(options_.group);
    runtime_.control().channel(address).call(
        {wire::RequestCode::kGetConsumerListByGroup, &fields, {}},
        kAskLimit / static_cast<int>(route->brokers.size()),
        [round, route, attempt, address](Result<net::Received>& result) {
            GroupMembership& self = *round->membership;
            const Result<wire::ConsumerIdList> list =
                body_of<wire::ConsumerIdList>(result, address);
            if (!list) {
                kLog.debug("members_unknown",
                           {{"group", self.options_.group}, {"error", list.error()}});
                self.ask_members_in_loop(round, route, attempt + 1);
                return;
            }
            self.share_in_loop(
                *round, *route, {list->consumeridlist().begin(), list->consumeridlist().end()});
        });
}

void GroupMembership::take_all_in_loop(const TopicRoute& route) {
    shares_[route.topic] = {route.read_queues.begin(), route.read_queues.end()};
}

void GroupMembership::share_in_loop(Round& round,
                                    const TopicRoute& route,
                                    std::vector<std::string> members) {
    if (std::find(members.begin(), members.end(), runtime_.client_id()) == members.end()) {
        round.has_failed = true;  // the broker has not taken our heartbeat in yet
        return;
    }
    const std::vector<QueueId> share =
        share_of(options_.sharing, route.read_queues, std::move(members), runtime_.client_id());
    shares_[route.topic] = {share.begin(), share.end()};
}

void GroupMembership::finish_in_loop(Round& round) {
    is_rebalancing_ = false;
    if (has_left_ || timer_ == nullptr) {
        return;
    }
    publish_in_loop();
    if (must_repeat_) {
        runtime_.control().post([self = shared_from_this()] { self->rebalance_in_loop(); });
    } else if (round.has_failed) {
        timer_->start_once(kRetry);
    } else {
        timer_->start_once(kPeriod);
    }
}

void GroupMembership::publish_in_loop() {
    std::set<QueueId> computed;
    for (const auto& [topic, share] : shares_) {
        computed.insert(share.begin(), share.end());
    }
    std::set<QueueId> all = computed;
    if (broker_shares_ != nullptr) {
        broker_shares_->set_computed(computed);
        std::erase_if(all,
                      [this](const QueueId& queue) { return broker_shares_->rules(queue.broker); });
        broker_shares_->collect(all);
    }
    if (on_assignment_) {
        on_assignment_(all);
    }
}

}  // namespace gantry::client
