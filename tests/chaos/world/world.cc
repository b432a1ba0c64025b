// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/world.h"

#include "tests/harness/programs.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/wait.h"

#include <fstream>
#include <unistd.h>
#include <utility>

namespace gantry::chaos {
namespace {

namespace fs = std::filesystem;
using harness::Settings;
using std::chrono::milliseconds;

constexpr const char* kEtcd = "/usr/bin/etcd";
constexpr const char* kFakeTime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
constexpr std::uint16_t kNameserverPort = 9876;
constexpr std::uint16_t kBrokerPort = 10911;
constexpr std::uint16_t kReplicationPort = 10912;
constexpr std::uint16_t kHttpPort = 9100;
constexpr std::uint16_t kEtcdPort = 2379;
constexpr std::uint16_t kEtcdPeerPort = 2380;
constexpr milliseconds kStartLimit{30'000};

std::vector<std::string> with_settings(const fs::path& executable, const Settings& settings) {
    std::vector<std::string> command{executable.string()};
    for (const auto& [key, value] : settings) {
        command.emplace_back("--set");
        command.push_back(key + "=" + value);
    }
    return command;
}

std::string etcd_host(std::size_t index) {
    return "etcd" + std::to_string(index + 1);
}

std::string broker_host(std::size_t index) {
    return "broker" + std::to_string(index + 1);
}

}  // namespace

World::World(Private, std::unique_ptr<Network> network, Options options)
    : network_(std::move(network)), options_(std::move(options)) {}

World::~World() {
    // A network outlives the programs on it.
    brokers_.clear();
    nameserver_.reset();
    etcds_.clear();
}

Result<std::unique_ptr<World>> World::start(std::unique_ptr<Network> network,
                                            const Options& options) {
    if (!fs::exists(kEtcd)) {
        return Error{Errc::kNotFound, "no etcd is installed (package etcd-server)"};
    }
    auto world = std::make_unique<World>(Private{}, std::move(network), options);
    for (std::size_t i = 0; i < options.etcds; ++i) {
        GANTRY_TRY(world->network_->add_host(etcd_host(i)));
    }
    for (std::size_t i = 0; i < options.brokers; ++i) {
        GANTRY_TRY(world->network_->add_host(broker_host(i)));
    }
    for (const std::string& host : options.client_hosts) {
        GANTRY_TRY(world->network_->add_host(host));
    }
    GANTRY_TRY(world->network_->add_host("nameserver"));
    GANTRY_TRY(world->start_etcds());
    GANTRY_TRY(world->start_nameserver());
    for (std::size_t i = 0; i < options.brokers; ++i) {
        GANTRY_TRY(world->start_broker(i));
    }
    GANTRY_TRY(world->wait_whole(kStartLimit));
    return world;
}

Status World::start_etcds() {
    std::string cluster;
    std::vector<std::pair<std::string, std::string>> urls;
    for (std::size_t i = 0; i < options_.etcds; ++i) {
        GANTRY_ASSIGN_OR_RETURN(const std::uint16_t port, network_->pick_port(kEtcdPort));
        GANTRY_ASSIGN_OR_RETURN(const std::uint16_t peer, network_->pick_port(kEtcdPeerPort));
        const std::string host = "http://" + network_->listen_host(etcd_host(i)) + ":";
        etcd_ports_.push_back(port);
        urls.emplace_back(host + std::to_string(port), host + std::to_string(peer));
        cluster += (i == 0 ? "" : ",") + etcd_host(i) + "=" + urls.back().second;
    }
    for (std::size_t i = 0; i < options_.etcds; ++i) {
        const std::string host = etcd_host(i);
        const fs::path data = options_.directory / host;
        Daemon::Options etcd{host, host, {kEtcd}, options_.directory, etcd_ports_[i], data};
        const std::vector<std::pair<std::string, std::string>> arguments{
            {"--name", host},
            {"--data-dir", data.string()},
            {"--listen-client-urls", urls[i].first},
            {"--advertise-client-urls", urls[i].first},
            {"--listen-peer-urls", urls[i].second},
            {"--initial-advertise-peer-urls", urls[i].second},
            {"--initial-cluster", cluster},
            {"--initial-cluster-token", "chaos-" + std::to_string(::getpid())},
            {"--logger", "zap"}};
        for (const auto& [name, value] : arguments) {
            etcd.command.insert(etcd.command.end(), {name, value});
        }
        etcds_.push_back(std::make_unique<Daemon>(*network_, std::move(etcd)));
        GANTRY_TRY(etcds_.back()->start());
    }
    return ok();
}

Status World::start_nameserver() {
    GANTRY_ASSIGN_OR_RETURN(const std::uint16_t port, network_->pick_port(kNameserverPort));
    GANTRY_ASSIGN_OR_RETURN(const std::uint16_t http, network_->pick_port(kHttpPort));
    const std::string host = network_->listen_host("nameserver");
    const Settings settings{{"listen.address", host},
                            {"listen.port", std::to_string(port)},
                            {"http.address", host},
                            {"http.port", std::to_string(http)}};
    nameserver_ = std::make_unique<Daemon>(
        *network_,
        Daemon::Options{"nameserver",
                        "nameserver",
                        with_settings(harness::NameserverProcess::executable(), settings),
                        options_.directory,
                        port});
    GANTRY_TRY(nameserver_->start());
    GANTRY_TRY(nameserver_->process()->wait_ready());
    return ok();
}

Status World::start_broker(std::size_t index) {
    const std::string host = broker_host(index);
    GANTRY_ASSIGN_OR_RETURN(const std::uint16_t port, network_->pick_port(kBrokerPort));
    GANTRY_ASSIGN_OR_RETURN(const std::uint16_t copies, network_->pick_port(kReplicationPort));
    GANTRY_ASSIGN_OR_RETURN(const std::uint16_t http, network_->pick_port(kHttpPort));
    GANTRY_TRY(network_->publish(host, port));
    GANTRY_TRY(network_->publish(host, copies));
    GANTRY_ASSIGN_OR_RETURN(const std::string names, nameserver_way(host));
    std::string etcds;
    for (std::size_t i = 0; i < options_.etcds; ++i) {
        GANTRY_ASSIGN_OR_RETURN(const std::string way,
                                network_->way(host, etcd_host(i), etcd_ports_[i]));
        etcds += (i == 0 ? "http://" : ",http://") + way;
    }
    const std::string listen = network_->listen_host(host);
    const fs::path store = options_.directory / host / "store";
    Settings settings{{"broker.name", kGroup},
                      {"broker.advertise_host", network_->address(host)},
                      {"listen.address", listen},
                      {"listen.port", std::to_string(port)},
                      {"http.address", listen},
                      {"http.port", std::to_string(http)},
                      {"nameserver.addresses", names},
                      {"store.directory", store.string()},
                      {"store.flush", "sync"},
                      {"store.segment_bytes", "16MiB"},
                      {"replication.mode", "etcd"},
                      {"replication.member", std::to_string(index + 1)},
                      {"replication.listen_port", std::to_string(copies)},
                      {"replication.advertise_host", network_->address(host)},
                      {"replication.etcd", etcds},
                      {"replication.acks", "sync"},
                      {"replication.in_sync_min", "2"}};
    for (const auto& [key, value] : options_.broker_settings) {
        settings[key] = value;
    }
    Daemon::Options broker{host,
                           host,
                           with_settings(harness::BrokerProcess::executable(), settings),
                           options_.directory,
                           port,
                           store};
    if (!fake_time().empty()) {
        std::ofstream(fake_time()) << "+0\n";
        broker.command.insert(broker.command.begin(),
                              {"/usr/bin/env",
                               "LD_PRELOAD=" + std::string(kFakeTime),
                               "FAKETIME_TIMESTAMP_FILE=" + fake_time().string(),
                               "FAKETIME_CACHE_DURATION=1",
                               "FAKETIME_DONT_FAKE_MONOTONIC=1"});
    }
    brokers_.push_back(std::make_unique<Daemon>(*network_, std::move(broker)));
    return brokers_.back()->start();
}

fs::path World::fake_time() const {
    return options_.has_fake_time && fs::exists(kFakeTime) ? options_.directory / "fake-time"
                                                           : fs::path();
}

Result<std::string> World::nameserver_way(const std::string& from) {
    return network_->way(from, "nameserver", nameserver_->port());
}

Result<wire::ReplicaStatus> World::status(std::size_t broker, milliseconds limit) {
    Daemon& asked = *brokers_.at(broker);
    if (!asked.is_running() || asked.is_frozen()) {
        return Error{Errc::kGone, asked.name() + " does not run"};
    }
    harness::RpcClient client(network_->listen_host(asked.host()) + ":" +
                              std::to_string(asked.port()));
    const harness::Answer answer =
        client.start(wire::RequestCode::kReplicaStatus, nullptr, {}, limit).get();
    if (answer.summary() != "0") {
        return Error{Errc::kGone, asked.name() + ": " + answer.summary()};
    }
    return answer.fields<wire::ReplicaStatus>();
}

std::optional<std::size_t> World::master() {
    std::optional<std::size_t> found;
    std::int64_t epoch = 0;
    for (std::size_t i = 0; i < brokers_.size(); ++i) {
        const Result<wire::ReplicaStatus> said = status(i);
        if (said && said->ismaster() && said->epoch() > epoch) {
            epoch = said->epoch();
            found = i;
        }
    }
    return found;
}

std::optional<std::size_t> World::etcd_leader() {
    for (std::size_t i = 0; i < etcds_.size(); ++i) {
        const Result<harness::ProgramRun> asked =
            harness::run_program("/usr/bin/curl",
                                 {"-s",
                                  "-m",
                                  "1",
                                  "http://" + network_->listen_host(etcds_[i]->host()) + ":" +
                                      std::to_string(etcds_[i]->port()) + "/metrics"},
                                 milliseconds(5'000));
        if (asked && asked->out.find("\netcd_server_is_leader 1") != std::string::npos) {
            return i;
        }
    }
    return std::nullopt;
}

Status World::wait_whole(milliseconds limit, bool at_rest) {
    std::string last;
    bool is_whole = false;
    harness::wait_until(limit, [&] {
        for (const auto& broker : brokers_) {
            if (broker->has_died()) {
                last = broker->name() + " ended by itself: " + broker->process()->err();
                return true;
            }
        }
        is_whole = is_whole_now(at_rest, last);
        return is_whole;
    });
    return is_whole ? ok() : Status(Error{Errc::kTimeout, "the group is not whole: " + last});
}

/// `why`: what is missing.
bool World::is_whole_now(bool at_rest, std::string& why) {
    const std::optional<std::size_t> leader = master();
    if (!leader) {
        why = "no master";
        for (std::size_t i = 0; i < brokers_.size(); ++i) {
            const Result<wire::ReplicaStatus> said = status(i);
            why += "; " + (said ? said->ShortDebugString() : to_string(said.error()));
        }
        return false;
    }
    const Result<wire::ReplicaStatus> said = status(*leader);
    why = said ? said->ShortDebugString() : to_string(said.error());
    bool is_whole = said && said->insync_size() == static_cast<int>(brokers_.size());
    for (std::size_t i = 0; at_rest && is_whole && i < brokers_.size(); ++i) {
        const Result<wire::ReplicaStatus> other = status(i);
        is_whole = other && other->logend() == said->logend();
        why = other ? why + "; " + other->ShortDebugString() : to_string(other.error());
    }
    return is_whole;
}

Status World::mend() {
    Status mended = network_->heal();
    const auto note = [&mended](const Status& status) {
        if (!status && mended) {
            mended = status;
        }
    };
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
        note((*undo)());
    }
    undo_.clear();
    std::vector<Daemon*> all{nameserver_.get()};
    for (const auto* group : {&etcds_, &brokers_}) {
        for (const auto& daemon : *group) {
            all.push_back(daemon.get());
        }
    }
    for (Daemon* const daemon : all) {
        daemon->thaw();
        note(daemon->start());
    }
    return mended;
}

}  // namespace gantry::chaos
