// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/replication/etcd_cluster.h"

#include "common/random.h"
#include "common/unique_fd.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>
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

Result<std::uint16_t> free_port() {
    constexpr std::uint16_t kFrom = 10'000;
    constexpr std::uint16_t kTo = 32'000;
    constexpr int kTriesMax = 100;
    Random random(random_seed());
    for (int i = 0; i < kTriesMax; ++i) {
        const auto port = static_cast<std::uint16_t>(kFrom + random.below(kTo - kFrom));
        const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_ANY);
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (socket.get() >= 0 && ::bind(socket.get(), any, sizeof(address)) == 0) {
            return port;
        }
    }
    return io_error("a free port", errno);
}

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
