// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/faulty_proxy.h"
#include "tests/harness/replication/etcd_cluster.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::harness {

/// A nameserver and the brokers of one group, real processes on the loopback, with etcd or with
/// static roles. Whatever they say to one another, to etcd and to the nameserver goes through
/// proxies that a test can make bad.
///
///   broker i ── etcd_proxies(i) ──► etcd        broker i ── name_proxy(i) ──► nameserver
///   any other broker ── link_proxy(i) ──► replication port of broker i
///
/// Threads   one.
class ReplicatedGroup {
    struct Private {};

public:
    /// Name of the group and of its only topic, which has one queue.
    static constexpr const char* kName = "group-a";
    static constexpr const char* kTopic = "T";

    /// What to start. Without more a send waits for sync flush on every copy in sync.
    struct Options {
        std::size_t members = 3;
        std::size_t etcd = 1;  ///< members of it; 0: static roles, broker 0 the first master
        std::int64_t in_sync_min = 2;
        std::string flush = "sync";
        Settings settings{};  ///< of every broker, over all others
    };

    /// Starts all, waits for a master with every member in sync, and makes the topic.
    static Result<std::unique_ptr<ReplicatedGroup>> start(const Options& options);

    /// For start only.
    explicit ReplicatedGroup(Private) {}

    std::size_t size() const noexcept { return brokers_.size(); }

    BrokerProcess& broker(std::size_t index) { return *brokers_.at(index).process; }

    NameserverProcess& nameserver() { return *nameserver_; }

    EtcdCluster& etcd() { return *etcd_; }

    /// One for each member of etcd; none with static roles.
    const std::vector<std::unique_ptr<FaultyProxy>>& etcd_proxies(std::size_t index) const {
        return brokers_.at(index).etcd_proxies;
    }

    /// Cuts a broker off from etcd without a word, and lets it back.
    void part_from_etcd(std::size_t index);
    void rejoin_etcd(std::size_t index);

    FaultyProxy& name_proxy(std::size_t index) { return *brokers_.at(index).name_proxy; }

    FaultyProxy& link_proxy(std::size_t index) { return *brokers_.at(index).link_proxy; }

    std::filesystem::path store(std::size_t index) {
        return broker(index).directory() / broker(index).name() / "store";
    }

    /// What a broker says of itself and its group, within `limit`.
    Result<wire::ReplicaStatus> status(std::size_t index,
                                       std::chrono::milliseconds limit = kAnswerLimit);
    /// The broker that says it is master, of several the one of the highest epoch.
    std::optional<std::size_t> master();
    /// Waits for a master that acknowledges a send, other than `but`. kTimeout says what was there.
    Result<std::size_t> wait_for_master(std::optional<std::size_t> but = std::nullopt,
                                        std::chrono::milliseconds limit = Process::kPatience);
    /// Waits until the master's in-sync set has `count` members.
    Status wait_in_sync(std::size_t count, std::chrono::milliseconds limit = Process::kPatience);
    /// A member that is not master.
    std::size_t a_slave();
    /// Waits until all brokers that run have the same log up to the same end, and show all of it.
    Status wait_same_logs(std::chrono::milliseconds limit = Process::kPatience);

    /// Whether the log of two brokers is the same, byte by byte, as far as the shorter one goes; to
    /// be called after wait_same_logs. kCorrupt says where it is not.
    Status compare_logs(std::size_t one, std::size_t other);

    /// Sends one message to a broker; when it is acknowledged the body is kept as such.
    Answer send(std::size_t index,
                const std::string& body,
                std::chrono::milliseconds limit = kAnswerLimit);
    /// Sends messages that are unlike all others to whoever is master, until `count` of them are
    /// acknowledged. A failed one is sent again, under another number.
    Status send_some(std::size_t count, std::chrono::milliseconds limit = Process::kPatience);

    const std::vector<std::string>& acknowledged() const noexcept { return acknowledged_; }

    /// What a broker serves of the topic: every acknowledged message once, in order; those whose
    /// outcome was unknown at most once. kCorrupt names the first that is not so.
    Status check(std::size_t index);

private:
    struct Member {
        std::vector<std::unique_ptr<FaultyProxy>> etcd_proxies{};
        std::unique_ptr<FaultyProxy> name_proxy{};
        std::unique_ptr<FaultyProxy> link_proxy{};
        std::uint16_t link_port = 0;
        std::unique_ptr<BrokerProcess> process{};
    };

    static constexpr std::chrono::milliseconds kAnswerLimit{2'000};

    Status make_members(const Options& options);
    Settings settings_of(std::size_t index, const Options& options);
    std::string describe();

    TempDirectory directory_;
    std::unique_ptr<EtcdCluster> etcd_;
    std::unique_ptr<NameserverProcess> nameserver_;
    std::vector<Member> brokers_;
    std::vector<std::string> acknowledged_;
    std::uint64_t sent_ = 0;
};

}  // namespace gantry::harness
