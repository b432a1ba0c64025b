// SPDX-License-Identifier: Apache-2.0
// The part of AdminClient that configures consumer groups.
#include "client/admin/admin_state.h"
#include "client/admin_client.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::int32_t kRetryMaxMax = 1'000'000;
/// RocketMQ's retries skip the first two entries of their table.
constexpr int kSkippedEntries = 2;

Result<std::optional<wire::SubscriptionGroupConfig>> config_on(AdminCalls& calls,
                                                               const std::string& address,
                                                               const std::string& group) {
    GANTRY_ASSIGN_OR_RETURN(const wire::SubscriptionGroupTable table,
                            calls.ask_body<wire::SubscriptionGroupTable>(
                                address, wire::RequestCode::kGetAllSubscriptionGroupConfig));
    const auto found = table.subscriptiongrouptable().find(group);
    return found == table.subscriptiongrouptable().end()
               ? std::optional<wire::SubscriptionGroupConfig>()
               : std::optional<wire::SubscriptionGroupConfig>(found->second);
}

RetryBackoff backoff_of(const wire::GroupRetryPolicy& policy) {
    RetryBackoff backoff;
    const auto& table = policy.customizedretrypolicy().next();
    if (policy.type() == "EXPONENTIAL" && policy.has_exponentialretrypolicy()) {
        const wire::ExponentialRetryPolicy& values = policy.exponentialretrypolicy();
        backoff.kind = RetryBackoff::Kind::kExponential;
        backoff.initial_ms = values.has_initial() ? values.initial() : backoff.initial_ms;
        backoff.max_ms = values.has_max() ? values.max() : backoff.max_ms;
        backoff.multiplier = values.has_multiplier() ? values.multiplier() : backoff.multiplier;
    } else if (policy.type() != "EXPONENTIAL" && !table.empty()) {
        backoff.kind = RetryBackoff::Kind::kTable;
        const int skipped = std::min(kSkippedEntries, table.size() - 1);
        backoff.table_ms.assign(table.begin() + skipped, table.end());
    }
    return backoff;
}

wire::GroupRetryPolicy policy_of(const RetryBackoff& backoff) {
    wire::GroupRetryPolicy policy;
    policy.set_type("CUSTOMIZED");
    if (backoff.kind == RetryBackoff::Kind::kTable) {
        auto& next = *policy.mutable_customizedretrypolicy()->mutable_next();
        for (int i = 0; i < kSkippedEntries; ++i) {
            next.Add(backoff.table_ms.front());
        }
        next.Add(backoff.table_ms.begin(), backoff.table_ms.end());
    } else if (backoff.kind == RetryBackoff::Kind::kExponential) {
        policy.set_type("EXPONENTIAL");
        wire::ExponentialRetryPolicy& values = *policy.mutable_exponentialretrypolicy();
        values.set_initial(backoff.initial_ms);
        values.set_max(backoff.max_ms);
        values.set_multiplier(backoff.multiplier);
    }
    return policy;
}

/// What a broker of ours never takes counts as what groups have by default.
OutOfRangePolicy policy_named(std::string_view name) {
    for (const OutOfRangePolicy policy :
         {OutOfRangePolicy::kEarliest, OutOfRangePolicy::kLatest, OutOfRangePolicy::kFail}) {
        if (name == name_of(policy)) {
            return policy;
        }
    }
    return OutOfRangePolicy::kNearest;
}

Status check_settings(const GroupSettings& settings) {
    GANTRY_TRY(wire::check_group_name(settings.group));
    if (settings.retry_max < 0 || settings.retry_max > kRetryMaxMax) {
        return Error{Errc::kRefused,
                     "retry_max " + std::to_string(settings.retry_max) + " is not in 0.." +
                         std::to_string(kRetryMaxMax)};
    }
    if (settings.backoff.kind == RetryBackoff::Kind::kTable && settings.backoff.table_ms.empty()) {
        return Error{Errc::kRefused, "backoff: a table without an entry"};
    }
    return ok();
}

}  // namespace

std::string_view name_of(OutOfRangePolicy policy) noexcept {
    switch (policy) {
        case OutOfRangePolicy::kEarliest:
            return "earliest";
        case OutOfRangePolicy::kLatest:
            return "latest";
        case OutOfRangePolicy::kFail:
            return "fail";
        case OutOfRangePolicy::kNearest:
            break;
    }
    return "nearest";
}

Result<GroupSettings> AdminClient::group_settings(std::string_view group) {
    GANTRY_TRY(wire::check_group_name(group));
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const auto config,
                                config_on(state_->calls, broker.address, std::string(group)));
        if (config) {
            return GroupSettings{std::string(group),
                                 config->retrymaxtimes(),
                                 backoff_of(config->groupretrypolicy()),
                                 policy_named(config->offsetoutofrange())};
        }
    }
    return Error{Errc::kNotFound, "no broker has settings of group " + std::string(group)};
}

Status AdminClient::set_group(const GroupSettings& settings) {
    GANTRY_TRY(check_settings(settings));
    if (settings.out_of_range != OutOfRangePolicy::kNearest) {
        GANTRY_TRY(state_->calls.runtime().need_gantry(
            "out_of_range " + std::string(name_of(settings.out_of_range))));
    }
    GANTRY_ASSIGN_OR_RETURN(const std::vector<BrokerAddress> brokers, state_->calls.brokers());
    for (const BrokerAddress& broker : brokers) {
        if (broker.broker_id != 0) {
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(auto config,
                                config_on(state_->calls, broker.address, settings.group));
        wire::SubscriptionGroupConfig changed =
            config ? std::move(*config) : wire::SubscriptionGroupConfig();
        changed.set_groupname(settings.group);
        changed.set_retrymaxtimes(settings.retry_max);
        *changed.mutable_groupretrypolicy() = policy_of(settings.backoff);
        changed.set_offsetoutofrange(std::string(name_of(settings.out_of_range)));
        std::string body;
        wire::append_body(body, state_->calls.runtime().control().codec(), changed);
        GANTRY_TRY(state_->calls.ask_status(
            broker.address, wire::RequestCode::kUpdateAndCreateSubscriptionGroup, nullptr, body));
    }
    return ok();
}

}  // namespace gantry::client
