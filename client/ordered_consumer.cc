// SPDX-License-Identifier: Apache-2.0
#include "client/ordered_consumer.h"

#include "client/consume/selector_check.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/order/ordered_workers.h"
#include "protocol/wire/names.h"

#include <map>
#include <utility>

namespace gantry::client {

struct OrderedConsumer::State {
    std::shared_ptr<Client> client;
    Options options;
    std::map<std::string, Subscription> subscriptions;
    std::shared_ptr<OrderedWorkers> workers;
    bool has_started = false;
};

namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kThreadsMax = 1'024;
constexpr std::uint32_t kHeldMax = 1U << 20U;
constexpr milliseconds kLeaseMin{1'000};
constexpr milliseconds kLeaseMax{60'000};

Status check_count(std::string_view name, std::uint64_t value, std::uint64_t most) {
    if (value == 0 || value > most) {
        return Error{Errc::kRefused,
                     std::string(name) + ' ' + std::to_string(value) + " is not in 1.." +
                         std::to_string(most)};
    }
    return ok();
}

Status check_times(const OrderedConsumer::Options& options) {
    if (options.lease < kLeaseMin || options.lease > kLeaseMax) {
        return Error{
            Errc::kRefused,
            "lease " + std::to_string(options.lease.count()) + " ms is not in 1000..60000 ms"};
    }
    if (options.retry_delay.count() <= 0 || options.retry_delay_max < options.retry_delay) {
        return Error{Errc::kRefused,
                     "retry_delay must be above 0 ms, retry_delay_max not below it"};
    }
    if (options.commit_interval.count() <= 0 || options.poll_hold.count() < 0) {
        return Error{Errc::kRefused, "commit_interval must be above 0 ms, poll_hold not below"};
    }
    return ok();
}

Status check_options(const OrderedConsumer::Options& options) {
    GANTRY_TRY(wire::check_group_name(options.group));
    GANTRY_TRY(check_count("threads", options.threads, kThreadsMax));
    GANTRY_TRY(check_count("batch_messages_max", options.batch_messages_max, kHeldMax));
    GANTRY_TRY(check_count("held_messages_max", options.held_messages_max, kHeldMax));
    GANTRY_TRY(check_count("attempts_max", options.attempts_max, UINT32_MAX));
    GANTRY_TRY(check_count("pull_messages_max", options.pull_messages_max, UINT32_MAX));
    GANTRY_TRY(check_count("pull_bytes_max", options.pull_bytes_max, UINT32_MAX));
    if (options.order_by == OrderBy::kKey && options.key_property.empty()) {
        return Error{Errc::kRefused, "key_property is empty: order by key needs one"};
    }
    if (options.order_by == OrderBy::kQueue && options.poisoned == Poisoned::kPark) {
        return Error{Errc::kRefused, "poisoned is kPark: order by queue has no keys to park"};
    }
    if (options.sharing.kind == Sharing::Kind::kBroker) {
        return Error{Errc::kRefused,
                     "sharing.kind kBroker: an ordered consumer locks queues instead"};
    }
    GANTRY_TRY(check_times(options));
    return check_sharing(options.sharing);
}

}  // namespace

OrderedConsumer::OrderedConsumer(std::unique_ptr<State> state) : state_(std::move(state)) {}

OrderedConsumer::~OrderedConsumer() {
    stop();
}

Result<std::unique_ptr<OrderedConsumer>> OrderedConsumer::create(std::shared_ptr<Client> client,
                                                                 const Options& options) {
    GANTRY_TRY(check_options(options));
    GANTRY_TRY(client->runtime().need_gantry("ordered consumer"));
    auto state = std::make_unique<State>();
    Runtime& runtime = client->runtime();
    state->client = std::move(client);
    state->options = options;
    state->workers = std::make_shared<OrderedWorkers>(runtime, runtime.next_slot(), options);
    return std::unique_ptr<OrderedConsumer>(new OrderedConsumer(std::move(state)));
}

Status OrderedConsumer::subscribe(std::string_view topic, std::string_view expression) {
    return subscribe(topic, MessageSelector::by_tag(std::string(expression)));
}

Status OrderedConsumer::subscribe(std::string_view topic, const MessageSelector& selector) {
    GANTRY_TRY(wire::check_topic_name(topic));
    if (state_->has_started) {
        return Error{Errc::kConflict, "the consumer has started: subscribe before"};
    }
    GANTRY_ASSIGN_OR_RETURN(state_->subscriptions[std::string(topic)], make_subscription(selector));
    return ok();
}

Status OrderedConsumer::start(Listener listener) {
    if (state_->has_started) {
        return Error{Errc::kConflict, "the consumer has started already"};
    }
    if (state_->subscriptions.empty()) {
        return Error{Errc::kRefused, "subscribe to a topic before start"};
    }
    Runtime& runtime = state_->client->runtime();
    for (const auto& [topic, subscription] : state_->subscriptions) {
        const Result<RoutePtr> route = runtime.routes().wait_for(topic);
        if (!route && route.error().code != Errc::kNotFound) {  // one that comes later is fine
            return route.error();
        }
        GANTRY_TRY(check_selector(runtime, runtime.control(), topic, subscription.selector));
    }
    // What is redriven from the dead-letter topic comes there.
    state_->subscriptions[wire::retry_topic(state_->options.group)] = Subscription{};
    GANTRY_TRY(state_->workers->start(state_->subscriptions, std::move(listener)));
    state_->has_started = true;
    return ok();
}

void OrderedConsumer::stop() {
    if (std::exchange(state_->has_started, false)) {
        state_->workers->stop();
    }
}

void OrderedConsumer::suspend(const QueueId& queue) {
    state_->workers->suspend(queue);
}

void OrderedConsumer::resume(const QueueId& queue) {
    state_->workers->resume(queue);
}

void OrderedConsumer::suspend() {
    state_->workers->suspend_all(true);
}

void OrderedConsumer::resume() {
    state_->workers->suspend_all(false);
}

std::vector<QueueId> OrderedConsumer::assignment() const {
    return state_->workers->assignment();
}

}  // namespace gantry::client
