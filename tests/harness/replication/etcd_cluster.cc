// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/replication/etcd_cluster.h"

#include "tests/harness/http_get.h"
#include "tests/harness/sockets/free_port.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <array>
#include <unistd.h>
#include <utility>

namespace gantry::harness {
namespace {

constexpr std::array kPlaces{"/usr/bin/etcd", "/usr/local/bin/etcd"};

std::string executable() {
    const auto* const found = std::find_if(kPlaces.begin(), kPlaces.end(), [](const char* place) {
        return ::access(place, X_OK) == 0;
    });
    return found != kPlaces.end() ? *found : std::string();
}

std::string url(std::uint16_t port) {
    return "http://127.0.0.1:" + std::to_string(port);
}

std::string name_of(std::size_t index) {
    return "etcd-" + std::to_string(index);
}

}  // namespace

bool EtcdCluster::is_installed() {
    return !executable().empty();
}

Result<std::unique_ptr<EtcdCluster>> EtcdCluster::start(std::size_t members) {
    auto cluster = std::make_unique<EtcdCluster>(Private{});
    for (std::size_t i = 0; i < members; ++i) {
        Member member;
        GANTRY_ASSIGN_OR_RETURN(member.client_port, free_port());
        GANTRY_ASSIGN_OR_RETURN(member.peer_port, free_port());
        cluster->members_.push_back(std::move(member));
    }
    for (std::size_t i = 0; i < members; ++i) {
        GANTRY_TRY(cluster->begin(i));
    }
    GANTRY_TRY(cluster->wait_healthy());
    return cluster;
}

Status EtcdCluster::begin(std::size_t index) {
    std::string all;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        all += (all.empty() ? "" : ",") + name_of(i) + "=" + url(members_[i].peer_port);
    }
    Member& member = members_.at(index);
    const std::string name = name_of(index);
    GANTRY_ASSIGN_OR_RETURN(member.process,
                            Process::start(executable(),
                                           {"--name",
                                            name,
                                            "--data-dir",
                                            (directory_.path() / name).string(),
                                            "--listen-client-urls",
                                            url(member.client_port),
                                            "--advertise-client-urls",
                                            url(member.client_port),
                                            "--listen-peer-urls",
                                            url(member.peer_port),
                                            "--initial-advertise-peer-urls",
                                            url(member.peer_port),
                                            "--initial-cluster",
                                            all,
                                            "--logger",
                                            "zap"},
                                           directory_.path(),
                                           name));
    return ok();
}

Status EtcdCluster::wait_healthy() {
    for (std::size_t i = 0; i < members_.size(); ++i) {
        Member& member = members_[i];
        if (!member.process || !member.process->is_running()) {
            continue;
        }
        const auto is_healthy = [&] {
            const Result<HttpAnswer> answer = http_get(member.client_port, "/health");
            return answer && answer->status == 200 &&
                   answer->body.find("true") != std::string::npos;
        };
        if (!wait_until(Process::kPatience, is_healthy)) {
            return Error{Errc::kTimeout, name_of(i) + " has no leader: " + member.process->err()};
        }
    }
    return ok();
}

std::string EtcdCluster::endpoints() const {
    std::string all;
    for (const Member& member : members_) {
        all += (all.empty() ? "" : ",") + url(member.client_port);
    }
    return all;
}

void EtcdCluster::kill(std::size_t index) {
    members_.at(index).process->kill();
}

void EtcdCluster::pause(std::size_t index) {
    members_.at(index).process->pause();
}

void EtcdCluster::resume(std::size_t index) {
    members_.at(index).process->resume();
}

}  // namespace gantry::harness
