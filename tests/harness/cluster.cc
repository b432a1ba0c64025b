// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/cluster.h"

#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"

namespace gantry::harness {

Result<std::unique_ptr<Cluster>> Cluster::start(const Options& options) {
    auto cluster = std::make_unique<Cluster>(Private{});
    for (std::size_t i = 0; i < options.nameservers; ++i) {
        cluster->nameservers_.push_back(std::make_unique<NameserverProcess>(
            cluster->directory(), "nameserver-" + std::to_string(i), options.nameserver_settings));
        GANTRY_TRY(cluster->nameservers_.back()->start());
    }
    for (std::size_t i = 0; i < options.brokers; ++i) {
        cluster->brokers_.push_back(std::make_unique<BrokerProcess>(cluster->directory(),
                                                                    "broker-" + std::to_string(i),
                                                                    cluster->nameserver_addresses(),
                                                                    options.broker_settings));
        GANTRY_TRY(cluster->brokers_.back()->start());
    }
    GANTRY_TRY(cluster->wait_for_brokers(options.brokers));
    return cluster;
}

std::string Cluster::nameserver_addresses() const {
    std::string addresses;
    for (const auto& nameserver : nameservers_) {
        addresses += (addresses.empty() ? "" : ",") + nameserver->address();
    }
    return addresses;
}

Status Cluster::wait_for_brokers(std::size_t count) {
    for (const auto& nameserver : nameservers_) {
        const auto known = [&] {
            const Result<double> brokers =
                metric(nameserver->http_port(), "gantry_nameserver_brokers");
            return brokers && *brokers == static_cast<double>(count);
        };
        if (!wait_until(Process::kPatience, known)) {
            return Error{Errc::kTimeout,
                         nameserver->name() + " does not know " + std::to_string(count) +
                             " brokers; its log: " + nameserver->process().err()};
        }
    }
    return ok();
}

}  // namespace gantry::harness
