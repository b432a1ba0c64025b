// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/coordinators.h"

#include "broker/replication/etcd/etcd_coordinator.h"
#include "broker/replication/follower.h"
#include "broker/replication/static_coordinator.h"

#include <filesystem>
#include <string_view>
#include <utility>

namespace gantry::broker {

namespace {

std::unique_ptr<Coordinator> make_etcd(const CoordinatorParts& parts,
                                       const BrokerOptions& options) {
    constexpr std::string_view kScheme = "http://";
    EtcdCoordinator::Options etcd;
    for (const std::string& endpoint : options.replication.etcd) {
        etcd.endpoints.push_back(endpoint.substr(kScheme.size()));
    }
    etcd.prefix = options.replication.etcd_prefix;
    etcd.cluster = options.cluster;
    etcd.group = options.name;
    etcd.lease = std::chrono::milliseconds(options.replication.lease_ms);
    return std::make_unique<EtcdCoordinator>(parts.loop, parts.boot_clock, std::move(etcd));
}

}  // namespace

Result<std::unique_ptr<Coordinator>> make_coordinator(const CoordinatorParts& parts,
                                                      const BrokerOptions& options,
                                                      const LinkOptions& link) {
    if (!options.replication.is_static()) {
        return make_etcd(parts, options);
    }
    StaticCoordinator::Options roles;
    roles.peers = options.replication.peers;
    roles.file = std::filesystem::path(options.store_directory) / "replica" / "group";
    auto ask = [&loop = parts.loop, link](const std::string& address,
                                          UniqueFunction<void(Result<wire::ReplicaStatus>)> done) {
        ask_status(loop, link, address, std::move(done));
    };
    GANTRY_ASSIGN_OR_RETURN(
        std::unique_ptr<StaticCoordinator> coordinator,
        StaticCoordinator::open(
            parts.loop, parts.clock, parts.files, std::move(roles), std::move(ask)));
    return std::unique_ptr<Coordinator>(std::move(coordinator));
}

}  // namespace gantry::broker
