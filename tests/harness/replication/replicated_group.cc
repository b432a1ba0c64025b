// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/replication/replicated_group.h"

#include "protocol/wire/message.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/sockets/free_port.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kProbeLimit{500};

constexpr std::size_t kSegmentBytes = 1 << 20;

/// Address of the loopback under which others reach a broker's replication port: that of its proxy.
std::string link_host(std::size_t index) {
    return "127.0.1." + std::to_string(index + 1);
}

/// The bytes of a segment file of a store, nothing when there is none.
std::string segment_bytes(const std::filesystem::path& store, std::size_t number) {
    const std::string base = std::to_string(number * kSegmentBytes);
    std::ifstream file(store / "commitlog" / (std::string(20 - base.size(), '0') + base),
                       std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Result<std::unique_ptr<ReplicatedGroup>> ReplicatedGroup::start(const Options& options) {
    auto group = std::make_unique<ReplicatedGroup>(Private{});
    group->nameserver_ =
        std::make_unique<NameserverProcess>(group->directory_.path(), "nameserver");
    GANTRY_TRY(group->nameserver_->start());
    if (options.etcd > 0) {
        GANTRY_ASSIGN_OR_RETURN(group->etcd_, EtcdCluster::start(options.etcd));
    }
    GANTRY_TRY(group->make_members(options));
    for (Member& member : group->brokers_) {
        GANTRY_TRY(member.process->start());
    }
    GANTRY_TRY(group->wait_in_sync(options.members));
    std::optional<std::size_t> master;
    if (!wait_until(Process::kPatience, [&] { return (master = group->master()).has_value(); })) {
        return Error{Errc::kTimeout, "no master: " + group->describe()};
    }
    RpcClient client(group->broker(*master).address());
    const Answer made = create_topic(client, kTopic, 1);
    if (made.summary() != "0") {
        return Error{Errc::kIo, "create topic: " + made.summary()};
    }
    return group;
}

Status ReplicatedGroup::make_members(const Options& options) {
    brokers_.resize(options.members);
    for (std::size_t i = 0; i < options.members; ++i) {
        Member& member = brokers_[i];
        GANTRY_ASSIGN_OR_RETURN(member.link_port, free_port());
        GANTRY_ASSIGN_OR_RETURN(
            member.link_proxy,
            FaultyProxy::start(member.link_port, {link_host(i), member.link_port}));
        GANTRY_ASSIGN_OR_RETURN(member.name_proxy, FaultyProxy::start(nameserver_->port()));
        for (std::size_t j = 0; etcd_ && j < etcd_->size(); ++j) {
            GANTRY_ASSIGN_OR_RETURN(auto proxy, FaultyProxy::start(etcd_->port(j)));
            member.etcd_proxies.push_back(std::move(proxy));
        }
    }
    for (std::size_t i = 0; i < options.members; ++i) {
        brokers_[i].process = std::make_unique<BrokerProcess>(directory_.path(),
                                                              "broker-" + std::to_string(i),
                                                              brokers_[i].name_proxy->address(),
                                                              settings_of(i, options));
    }
    return ok();
}

Settings ReplicatedGroup::settings_of(std::size_t index, const Options& options) {
    std::string peers;
    for (std::size_t i = 0; i < brokers_.size(); ++i) {
        if (i != index) {
            peers += (peers.empty() ? "" : ",") + brokers_[i].link_proxy->address();
        }
    }
    std::string endpoints;
    for (const auto& proxy : brokers_[index].etcd_proxies) {
        endpoints += (endpoints.empty() ? "http://" : ",http://") + proxy->address();
    }
    Settings settings{{"broker.name", kName},
                      {"store.segment_bytes", "1MiB"},
                      {"store.prefault_bytes", "0"},
                      {"store.free_bytes_min", "0"},
                      {"limits.message_bytes_max", "64KiB"},
                      {"store.flush", options.flush},
                      {"replication.mode", etcd_ ? "etcd" : "static"},
                      {"replication.member", std::to_string(index + 1)},
                      {"replication.listen_port", std::to_string(brokers_[index].link_port)},
                      {"replication.advertise_host", link_host(index)},
                      {"replication.in_sync_min", std::to_string(options.in_sync_min)},
                      {"replication.heartbeat_ms", "100"},
                      {"replication.lag_ms_max", "1000"},
                      {"replication.lease_ms", "2000"}};
    if (etcd_) {
        settings["replication.etcd"] = endpoints;
    } else {
        settings["replication.peers"] = peers;
        settings["replication.role"] = index == 0 ? "master" : "slave";
    }
    for (const auto& [key, value] : options.settings) {
        settings[key] = value;
    }
    return settings;
}

Result<wire::ReplicaStatus> ReplicatedGroup::status(std::size_t index,
                                                    std::chrono::milliseconds limit) {
    BrokerProcess& asked = broker(index);
    if (!asked.process().is_running()) {
        return Error{Errc::kGone, asked.name() + " does not run"};
    }
    RpcClient client(asked.address());
    wire::ReplicaStatusRequest request;
    request.set_group(kName);
    const Answer answer =
        client.start(wire::RequestCode::kReplicaStatus, &request, {}, limit).get();
    if (answer.summary() != "0") {
        return Error{Errc::kGone, answer.summary()};
    }
    wire::ReplicaStatus status = answer.body_as<wire::ReplicaStatus>();
    return status.member() != 0 ? status : answer.fields<wire::ReplicaStatus>();
}

std::optional<std::size_t> ReplicatedGroup::master() {
    std::optional<std::size_t> found;
    std::int64_t epoch = 0;
    for (std::size_t i = 0; i < brokers_.size(); ++i) {
        const Result<wire::ReplicaStatus> said = status(i, kProbeLimit);
        if (said && said->ismaster() && said->epoch() > epoch) {
            epoch = said->epoch();
            found = i;
        }
    }
    return found;
}

Result<std::size_t> ReplicatedGroup::wait_for_master(std::optional<std::size_t> but,
                                                     std::chrono::milliseconds limit) {
    std::optional<std::size_t> found;
    std::string last;
    const bool is_there = wait_until(limit, [&] {
        found = master();
        if (!found || found == but) {
            return false;
        }
        last = send(*found, "probe " + std::to_string(sent_++)).summary();
        return last == "0";
    });
    if (!is_there) {
        return Error{Errc::kTimeout, "no new master; last send: " + last + "; " + describe()};
    }
    return *found;
}

Status ReplicatedGroup::wait_in_sync(std::size_t count, std::chrono::milliseconds limit) {
    const bool is_there = wait_until(limit, [&] {
        const std::optional<std::size_t> leader = master();
        const auto said = leader ? status(*leader, kProbeLimit)
                                 : Result<wire::ReplicaStatus>(Error{Errc::kGone, "no master"});
        return said && static_cast<std::size_t>(said->insync_size()) == count;
    });
    return is_there ? ok()
                    : Status(Error{Errc::kTimeout,
                                   "not " + std::to_string(count) + " in sync: " + describe()});
}

std::size_t ReplicatedGroup::a_slave() {
    const std::optional<std::size_t> leader = master();
    return leader == std::optional<std::size_t>(0) ? 1 : 0;
}

Status ReplicatedGroup::wait_same_logs(std::chrono::milliseconds limit) {
    const bool are_same = wait_until(limit, [&] {
        std::set<std::int64_t> ends;
        for (std::size_t i = 0; i < brokers_.size(); ++i) {
            if (broker(i).process().is_running()) {
                const Result<wire::ReplicaStatus> said = status(i, kProbeLimit);
                const bool is_confirmed = said && said->confirmed() >= said->logend();
                ends.insert(is_confirmed ? said->logend() : -1);
            }
        }
        return ends.size() == 1 && *ends.begin() >= 0;
    });
    return are_same ? ok() : Status(Error{Errc::kTimeout, "logs differ: " + describe()});
}

Status ReplicatedGroup::compare_logs(std::size_t one, std::size_t other) {
    GANTRY_ASSIGN_OR_RETURN(const wire::ReplicaStatus first, status(one));
    GANTRY_ASSIGN_OR_RETURN(const wire::ReplicaStatus second, status(other));
    const auto end = static_cast<std::size_t>(std::min(first.logend(), second.logend()));
    for (std::size_t number = 0; number * kSegmentBytes < end; ++number) {
        const std::size_t bytes = std::min(kSegmentBytes, end - number * kSegmentBytes);
        const std::string mine = segment_bytes(store(one), number);
        const std::string theirs = segment_bytes(store(other), number);
        if (mine.size() < bytes || mine.compare(0, bytes, theirs, 0, bytes) != 0) {
            return Error{Errc::kCorrupt,
                         "segment " + std::to_string(number) + " of " + broker(one).name() +
                             " and " + broker(other).name() + " differ below " +
                             std::to_string(end)};
        }
    }
    return ok();
}

void ReplicatedGroup::part_from_etcd(std::size_t index) {
    for (const auto& proxy : etcd_proxies(index)) {
        proxy->drop();
    }
}

void ReplicatedGroup::rejoin_etcd(std::size_t index) {
    for (const auto& proxy : etcd_proxies(index)) {
        proxy->pass();
        proxy->cut_once();
    }
}

std::string ReplicatedGroup::describe() {
    std::string text;
    for (std::size_t i = 0; i < brokers_.size(); ++i) {
        const Result<wire::ReplicaStatus> said = status(i, kProbeLimit);
        text += broker(i).name() + ": " +
                (said ? said->ShortDebugString() : to_string(said.error())) + "; ";
    }
    return text;
}

Answer ReplicatedGroup::send(std::size_t index,
                             const std::string& body,
                             std::chrono::milliseconds limit) {
    RpcClient client(broker(index).address());
    wire::SendRecordsRequest request;
    request.set_topic(kTopic);
    request.set_queueid(0);
    request.set_count(1);
    Answer answer =
        client.start(wire::RequestCode::kSendRecords, &request, records(kTopic, 0, {{body}}), limit)
            .get();
    if (answer.summary() == "0") {
        acknowledged_.push_back(body);
    }
    return answer;
}

Status ReplicatedGroup::send_some(std::size_t count, std::chrono::milliseconds limit) {
    const std::size_t wanted = acknowledged_.size() + count;
    std::optional<std::size_t> leader = master();
    std::string last = "nobody was asked";
    const bool is_done = wait_until(limit, [&] {
        while (leader && acknowledged_.size() < wanted) {
            last = send(*leader, "message " + std::to_string(sent_++)).summary();
            if (last != "0") {
                leader.reset();
            }
        }
        if (!leader) {
            leader = master();
        }
        return acknowledged_.size() >= wanted;
    });
    return is_done ? ok() : Status(Error{Errc::kTimeout, "last send: " + last + "; " + describe()});
}

Status ReplicatedGroup::check(std::size_t index) {
    RpcClient client(broker(index).address());
    const std::vector<std::string> served = read_queue(client, kTopic, 0);
    const std::set<std::string> unlike(served.begin(), served.end());
    if (unlike.size() != served.size()) {
        return Error{Errc::kCorrupt, broker(index).name() + " serves a message twice"};
    }
    auto at = served.begin();
    for (const std::string& body : acknowledged_) {
        at = std::find(at, served.end(), body);
        if (at == served.end()) {
            return Error{Errc::kCorrupt,
                         broker(index).name() + " has lost, or out of its order: " + body + " of " +
                             std::to_string(acknowledged_.size()) + " acknowledged, " +
                             std::to_string(served.size()) + " served" +
                             (served.empty() ? "" : ", the last: " + served.back())};
        }
    }
    return ok();
}

}  // namespace gantry::harness
