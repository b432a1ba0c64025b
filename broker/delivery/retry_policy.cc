// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/retry_policy.h"

#include "broker/delivery/delay_service.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace gantry::broker {

namespace {

constexpr std::string_view kCustomized = "CUSTOMIZED";
constexpr std::string_view kExponential = "EXPONENTIAL";

constexpr std::int32_t kFirstLevel = 3;
constexpr std::int32_t kSkippedEntries = 2;
constexpr std::int64_t kDelayMsMax = std::int64_t{365} * 24 * 3'600 * 1'000;
constexpr std::int64_t kMultiplierMax = 1'000;
constexpr int kEntriesMax = 1'000;

// Of a policy that leaves them out.
constexpr std::int64_t kInitialMs = 5'000;
constexpr std::int64_t kMaxMs = 7'200'000;
constexpr std::int64_t kMultiplier = 2;

struct Exponential {
    std::int64_t initial = kInitialMs;
    std::int64_t max = kMaxMs;
    std::int64_t multiplier = kMultiplier;
};

Exponential exponential_of(const wire::ExponentialRetryPolicy& policy) {
    Exponential values;
    values.initial = policy.has_initial() ? policy.initial() : values.initial;
    values.max = policy.has_max() ? policy.max() : values.max;
    values.multiplier = policy.has_multiplier() ? policy.multiplier() : values.multiplier;
    return values;
}

Status check_within(const std::string& field,
                    std::int64_t value,
                    std::int64_t low,
                    std::int64_t high) {
    if (value < low || value > high) {
        return Error{Errc::kRefused,
                     "groupRetryPolicy." + field + ' ' + std::to_string(value) + " is outside " +
                         std::to_string(low) + ".." + std::to_string(high)};
    }
    return ok();
}

Status check_table(const wire::CustomizedRetryPolicy& policy) {
    GANTRY_TRY(
        check_within("customizedRetryPolicy.next length", policy.next_size(), 0, kEntriesMax));
    for (int i = 0; i < policy.next_size(); ++i) {
        GANTRY_TRY(check_within("customizedRetryPolicy.next[" + std::to_string(i) + ']',
                                policy.next(i),
                                0,
                                kDelayMsMax));
    }
    return ok();
}

std::int64_t power_ms(const Exponential& policy, std::int32_t times) {
    std::int64_t delay = std::min(policy.initial, policy.max);
    for (std::int32_t i = 0; i < times && delay < policy.max && policy.multiplier > 1; ++i) {
        delay = delay > policy.max / policy.multiplier ? policy.max : delay * policy.multiplier;
    }
    return delay;
}

/// The first level that is not shorter.
std::int32_t level_for(std::int64_t delay_ms) {
    std::int32_t level = 1;
    while (level < DelayService::kLevels && DelayService::level_ms(level) < delay_ms) {
        ++level;
    }
    return level;
}

}  // namespace

Status check_retry_policy(const wire::GroupRetryPolicy& policy) {
    if (policy.has_type() && policy.type() != kCustomized && policy.type() != kExponential) {
        return Error{
            Errc::kRefused,
            "groupRetryPolicy.type \"" + policy.type() + "\" is none of CUSTOMIZED, EXPONENTIAL"};
    }
    GANTRY_TRY(check_table(policy.customizedretrypolicy()));
    const Exponential values = exponential_of(policy.exponentialretrypolicy());
    const std::string prefix = "exponentialRetryPolicy.";
    GANTRY_TRY(check_within(prefix + "initial", values.initial, 1, kDelayMsMax));
    GANTRY_TRY(check_within(prefix + "max", values.max, 1, kDelayMsMax));
    return check_within(prefix + "multiplier", values.multiplier, 1, kMultiplierMax);
}

std::int32_t retry_level(const wire::GroupRetryPolicy& policy, std::int32_t reconsume_times) {
    // No level and no entry of a table lies that far out.
    const std::int32_t times = std::clamp(reconsume_times, 0, 1'000'000);
    const auto& table = policy.customizedretrypolicy().next();
    if (policy.type() == kExponential && policy.has_exponentialretrypolicy()) {
        return level_for(power_ms(exponential_of(policy.exponentialretrypolicy()), times));
    }
    if (policy.type() != kExponential && !table.empty()) {
        return level_for(table.Get(std::min(times + kSkippedEntries, table.size() - 1)));
    }
    return std::min(kFirstLevel + times, DelayService::kLevels);
}

}  // namespace gantry::broker
