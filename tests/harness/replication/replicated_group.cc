// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/replication/replicated_group.h"

#include "protocol/wire/message.pb.h"
#include "tests/harness/broker_calls.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kProbeLimit{500};

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
    const std::optional<std::size_t> master = group->master();
    if (!master) {
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
        GANTRY_ASSIGN_OR_RETURN(member.link_proxy, FaultyProxy::start(member.link_port));
        GANTRY_ASSIGN_OR_RETURN(member.name_proxy, FaultyProxy::start(nameserver_->port()));
        if (etcd_) {
            GANTRY_ASSIGN_OR_RETURN(member.etcd_proxy,
                                    FaultyProxy::start(etcd_->port(i % etcd_->size())));
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
    Settings settings{{"broker.name", kName},
                      {"store.segment_bytes", "1MiB"},
                      {"store.prefault_bytes", "0"},
                      {"store.free_bytes_min", "0"},
                      {"limits.message_bytes_max", "64KiB"},
                      {"store.flush", options.flush},
                      {"replication.mode", etcd_ ? "etcd" : "static"},
                      {"replication.member", std::to_string(index + 1)},
                      {"replication.listen_port", std::to_string(brokers_[index].link_port)},
                      {"replication.in_sync_min", std::to_string(options.in_sync_min)},
                      {"replication.heartbeat_ms", "100"},
                      {"replication.lag_ms_max", "1000"},
                      {"replication.lease_ms", "2000"}};
    if (etcd_) {
        // Its own way to etcd alone, so that it can be cut off.
        settings["replication.etcd"] = "http://" + brokers_[index].etcd_proxy->address();
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
                ends.insert(said ? said->logend() : -1);
            }
        }
        return ends.size() == 1 && *ends.begin() >= 0;
    });
    return are_same ? ok() : Status(Error{Errc::kTimeout, "logs differ: " + describe()});
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
