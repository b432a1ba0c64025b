// SPDX-License-Identifier: Apache-2.0
#include "client/admin/admin_calls.h"

#include "protocol/wire/topic.pb.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace gantry::client {

Status AdminCalls::check_known(wire::RequestCode code) const {
    constexpr std::int32_t kOwnCodes = 10'000;  // from there on, below RocketMQ's pops: codes.h
    constexpr std::int32_t kRocketMqLateCodes = 200'000;
    const auto number = static_cast<std::int32_t>(code);
    if (number < kOwnCodes || number >= kRocketMqLateCodes) {
        return ok();
    }
    return runtime_.need_gantry("request " + std::to_string(number) + ' ' +
                                std::string(wire::name_of(code)));
}

Result<TopicRoute> AdminCalls::route(std::string_view topic) {
    auto fields = std::make_shared<wire::TopicRequest>();
    fields->set_topic(std::string(topic));
    Result<wire::TopicRouteData> data = ask_nameserver<wire::TopicRouteData>(
        wire::RequestCode::kGetRouteInfoByTopic, std::move(fields));
    if (!data && data.error().code == Errc::kNotFound) {
        return Error{Errc::kNotFound, "topic " + std::string(topic) + " does not exist"};
    }
    if (!data) {
        return data.error();
    }
    return make_route(topic, *data);
}

Result<std::vector<BrokerAddress>> AdminCalls::brokers() {
    GANTRY_ASSIGN_OR_RETURN(
        const wire::ClusterInfo info,
        ask_nameserver<wire::ClusterInfo>(wire::RequestCode::kGetBrokerClusterInfo, nullptr));
    std::vector<BrokerAddress> all;
    for (const auto& [name, data] : info.brokeraddrtable()) {
        for (const auto& [id, address] : data.brokeraddrs()) {
            all.push_back(BrokerAddress{data.cluster(), name, id, address});
        }
    }
    std::sort(all.begin(), all.end(), [](const BrokerAddress& a, const BrokerAddress& b) {
        return std::tie(a.cluster, a.broker, a.broker_id) <
               std::tie(b.cluster, b.broker, b.broker_id);
    });
    return all;
}

Result<std::vector<BrokerAddress>> AdminCalls::masters(std::string_view cluster) {
    GANTRY_ASSIGN_OR_RETURN(std::vector<BrokerAddress> all, brokers());
    std::erase_if(all, [](const BrokerAddress& broker) { return broker.broker_id != 0; });
    std::set<std::string> clusters;
    for (const BrokerAddress& broker : all) {
        clusters.insert(broker.cluster);
    }
    if (cluster.empty() && clusters.size() > 1) {
        std::string names;
        for (const std::string& name : clusters) {
            names += names.empty() ? name : ", " + name;
        }
        return Error{Errc::kRefused, "there are several clusters, name one of: " + names};
    }
    std::erase_if(all, [cluster](const BrokerAddress& broker) {
        return !cluster.empty() && broker.cluster != cluster;
    });
    if (all.empty()) {
        return Error{Errc::kNotFound,
                     cluster.empty()
                         ? std::string("no broker is registered")
                         : "no master of cluster " + std::string(cluster) + " is registered"};
    }
    return all;
}

}  // namespace gantry::client
