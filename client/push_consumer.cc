// SPDX-License-Identifier: Apache-2.0
#include "client/consume/local_offsets.h"
#include "client/consume/push_workers.h"
#include "client/consumer.h"
#include "client/core/runtime.h"
#include "protocol/wire/names.h"

#include <utility>

namespace gantry::client {

struct PushConsumer::State {
    std::shared_ptr<Client> client;
    Options options;
    std::map<std::string, Subscription> subscriptions;
    std::shared_ptr<PushWorkers> workers;  // null before start
};

namespace {

Status check_model(const PushConsumer::Options& options) {
    const bool is_broadcast = options.model == Model::kBroadcasting;
    if (is_broadcast == options.offsets_file.empty()) {
        return Error{Errc::kRefused,
                     is_broadcast ? "offsets_file is empty: a broadcast consumer needs one"
                                  : "offsets_file " + options.offsets_file +
                                        ": only a broadcast consumer has one"};
    }
    const bool is_default = options.sharing.kind == Sharing::Kind::kAverage ||
                            options.sharing.kind == Sharing::Kind::kBroker;
    if (is_broadcast && !is_default) {
        return Error{Errc::kRefused, "sharing: a broadcast consumer reads all queues"};
    }
    if (options.hand_over_limit.count() < 0) {
        return Error{Errc::kRefused, "hand_over_limit must not be below 0 ms"};
    }
    if (options.retry_delay.count() <= 0 || options.attempts_max == 0) {
        return Error{Errc::kRefused, "retry_delay and attempts_max must be above 0"};
    }
    return check_sharing(options.sharing);
}

}  // namespace

PushConsumer::PushConsumer(std::shared_ptr<State> state) : state_(std::move(state)) {}

PushConsumer::~PushConsumer() {
    stop();
}

Result<std::unique_ptr<PushConsumer>> PushConsumer::create(std::shared_ptr<Client> client,
                                                           const Options& options) {
    constexpr std::uint32_t kThreadsMax = 1'024;
    GANTRY_TRY(wire::check_group_name(options.group));
    GANTRY_TRY(check_model(options));
    if (options.threads == 0 || options.threads > kThreadsMax) {
        return Error{Errc::kRefused,
                     "threads " + std::to_string(options.threads) + " is not in 1.." +
                         std::to_string(kThreadsMax)};
    }
    if (options.batch_messages_max == 0 || options.pull_messages_max == 0 ||
        options.pull_bytes_max == 0) {
        return Error{Errc::kRefused,
                     "batch_messages_max, pull_messages_max and pull_bytes_max must be above 0"};
    }
    if (options.commit_interval.count() <= 0 || options.poll_hold.count() < 0) {
        return Error{Errc::kRefused, "commit_interval must be above 0 ms, poll_hold not below"};
    }
    if (!(options.trace_sample >= 0 && options.trace_sample <= 1)) {
        return Error{Errc::kRefused, "trace_sample is not within 0 to 1"};
    }
    auto state = std::make_shared<State>();
    state->client = std::move(client);
    state->options = options;
    if (state->client->runtime().is_rocketmq() && options.sharing.kind == Sharing::Kind::kBroker) {
        state->options.sharing.kind = Sharing::Kind::kAverage;  // the brokers deal nothing out
    }
    return std::unique_ptr<PushConsumer>(new PushConsumer(std::move(state)));
}

Status PushConsumer::subscribe(std::string_view topic, std::string_view expression) {
    return subscribe(topic, MessageSelector::by_tag(std::string(expression)));
}

Status PushConsumer::subscribe(std::string_view topic, const MessageSelector& selector) {
    GANTRY_TRY(wire::check_topic_name(topic));
    if (state_->workers != nullptr) {
        return Error{Errc::kConflict, "the consumer has started: subscribe before"};
    }
    GANTRY_ASSIGN_OR_RETURN(state_->subscriptions[std::string(topic)], make_subscription(selector));
    return ok();
}

Status PushConsumer::start(Listener listener) {
    if (state_->workers != nullptr) {
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
    std::shared_ptr<LocalOffsets> local;
    if (state_->options.model == Model::kBroadcasting) {
        GANTRY_ASSIGN_OR_RETURN(
            local, LocalOffsets::open(state_->options.offsets_file, state_->options.group));
    } else {
        state_->subscriptions[wire::retry_topic(state_->options.group)] = Subscription{};
    }
    auto workers = std::make_shared<PushWorkers>(
        runtime, runtime.next_slot(), state_->options, std::move(listener), std::move(local));
    GANTRY_TRY(workers->start(state_->subscriptions));
    state_->workers = std::move(workers);
    return ok();
}

void PushConsumer::stop() {
    if (state_->workers != nullptr) {
        state_->workers->stop();
    }
}

std::vector<QueueId> PushConsumer::assignment() const {
    return state_->workers == nullptr ? std::vector<QueueId>{} : state_->workers->assignment();
}

}  // namespace gantry::client
