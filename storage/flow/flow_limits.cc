// SPDX-License-Identifier: Apache-2.0
#include "storage/flow/flow_limits.h"

namespace gantry::storage {
namespace {

constexpr std::int64_t kRateMax = 1'000'000'000'000;
constexpr std::size_t kNameBytesMax = 255;

Status check_names(const wire::FlowLimit& limit) {
    const bool is_named = limit.scope() == "topic" || limit.scope() == "group";
    if (!is_named && limit.scope() != "broker" && limit.scope() != "client") {
        return Error{Errc::kRefused,
                     "scope \"" + limit.scope() + "\" is none of broker, client, topic, group"};
    }
    if (limit.scope() == "broker" && !limit.name().empty()) {
        return Error{Errc::kRefused, "name \"" + limit.name() + "\": a broker's limit has none"};
    }
    if ((is_named && limit.name().empty()) || limit.name().size() > kNameBytesMax) {
        return Error{Errc::kRefused,
                     "name of " + std::to_string(limit.name().size()) + " B is not within 1 to " +
                         std::to_string(kNameBytesMax) + " B"};
    }
    return ok();
}

Status check_rate(const char* field, std::int64_t rate) {
    if (rate < 0 || rate > kRateMax) {
        return Error{Errc::kRefused,
                     std::string(field) + ' ' + std::to_string(rate) + " is not within 0 to " +
                         std::to_string(kRateMax) + " a second"};
    }
    return ok();
}

}  // namespace

void FlowLimits::put(const wire::FlowLimit& limit) {
    if (limit.removed()) {
        remove(limit.scope(), limit.name());
    } else {
        limits_[{limit.scope(), limit.name()}] = limit;
    }
}

void FlowLimits::remove(const std::string& scope, const std::string& name) {
    limits_.erase({scope, name});
}

std::vector<wire::FlowLimit> FlowLimits::all() const {
    std::vector<wire::FlowLimit> limits;
    for (const auto& [key, limit] : limits_) {
        limits.push_back(limit);
    }
    return limits;
}

void FlowLimits::save(wire::StateSnapshot& snapshot) const {
    for (const auto& [key, limit] : limits_) {
        *snapshot.add_flowlimits() = limit;
    }
}

Status check_flow_limit(const wire::FlowLimit& limit) {
    GANTRY_TRY(check_names(limit));
    GANTRY_TRY(check_rate("sendMessages", limit.sendmessages()));
    GANTRY_TRY(check_rate("sendBytes", limit.sendbytes()));
    GANTRY_TRY(check_rate("deliverMessages", limit.delivermessages()));
    return check_rate("deliverBytes", limit.deliverbytes());
}

}  // namespace gantry::storage
