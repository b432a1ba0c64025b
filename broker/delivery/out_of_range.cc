// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/out_of_range.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace gantry::broker {
namespace {

constexpr std::array<std::pair<std::string_view, OutOfRange>, 5> kNames = {{
    {"", OutOfRange::kNearest},
    {"nearest", OutOfRange::kNearest},
    {"earliest", OutOfRange::kEarliest},
    {"latest", OutOfRange::kLatest},
    {"fail", OutOfRange::kFail},
}};

std::optional<OutOfRange> find(std::string_view name) {
    for (const auto& [known, policy] : kNames) {
        if (known == name) {
            return policy;
        }
    }
    return std::nullopt;
}

}  // namespace

Status check_out_of_range(const wire::SubscriptionGroupConfig& config) {
    if (!find(config.offsetoutofrange())) {
        return Error{Errc::kRefused,
                     "offsetOutOfRange \"" + config.offsetoutofrange() +
                         "\" is none of nearest, earliest, latest, fail"};
    }
    return ok();
}

OutOfRange out_of_range_of(const std::optional<wire::SubscriptionGroupConfig>& config) {
    return config ? find(config->offsetoutofrange()).value_or(OutOfRange::kNearest)
                  : OutOfRange::kNearest;
}

QueueOffset next_offset(OutOfRange policy, QueueOffset from, const OffsetRange& range) {
    switch (policy) {
        case OutOfRange::kEarliest:
            return range.min;
        case OutOfRange::kLatest:
            return range.max;
        case OutOfRange::kFail:
            return from;
        case OutOfRange::kNearest:
            break;
    }
    return from < range.min ? range.min : range.max;
}

}  // namespace gantry::broker
