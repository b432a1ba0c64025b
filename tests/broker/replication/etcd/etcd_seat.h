// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/boot_clock.h"
#include "broker/replication/etcd/etcd_coordinator.h"
#include "protocol/net/http/http_client.h"
#include "tests/broker/replication/watched_view.h"
#include "tests/harness/faults/not_run.h"
#include "tests/harness/replication/etcd_cluster.h"

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker::test {

/// True after saying so when there is no etcd to test with.
inline bool lacks_etcd() {
    if (!harness::EtcdCluster::is_installed()) {
        harness::say_not_run("etcd is not installed (Debian package etcd-server)");
        return true;
    }
    return false;
}

/// Coordinators of one group on real etcd, all on one loop.
struct EtcdGroup {
    explicit EtcdGroup(std::size_t members = 1)
        : etcd(harness::EtcdCluster::start(members).value()) {
        for (std::size_t i = 0; i < members; ++i) {
            endpoints.push_back("127.0.0.1:" + std::to_string(etcd->port(i)));
        }
    }

    std::unique_ptr<Seat> seat(std::chrono::milliseconds lease = std::chrono::seconds(2),
                               std::vector<std::string> its_endpoints = {},
                               Clock* its_clock = nullptr) {
        return std::make_unique<Seat>(loop, loop.run([&] {
            return std::make_unique<EtcdCoordinator>(
                *loop,
                its_clock != nullptr ? *its_clock : clock,
                EtcdCoordinator::Options{
                    .endpoints = its_endpoints.empty() ? endpoints : its_endpoints,
                    .prefix = "/gantry",
                    .cluster = "c",
                    .group = "g",
                    .lease = lease});
        }));
    }

    /// The answer of a call of etcd's gateway.
    net::HttpAnswer post(const std::string& path, const std::string& body) {
        std::promise<Result<net::HttpAnswer>> promise;
        auto future = promise.get_future();
        std::unique_ptr<net::HttpPost> request;
        loop.run([&] {
            request = std::make_unique<net::HttpPost>(*loop);
            request->start(
                {.endpoint = endpoints[0], .path = path, .body = body},
                std::chrono::seconds(10),
                [&](Result<net::HttpAnswer> answer) { promise.set_value(std::move(answer)); });
        });
        Result<net::HttpAnswer> answer = future.get();
        loop.run([&] { request.reset(); });
        return std::move(answer).value();
    }

    BootClock clock;
    net::test::LoopThread loop;
    std::unique_ptr<harness::EtcdCluster> etcd;
    std::vector<std::string> endpoints;
};

}  // namespace gantry::broker::test
