// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace gantry::broker {

/// What a broker is in its group at the moment.
enum class ReplicaRole : std::uint8_t { kAlone, kSlave, kMaster };

/// What the serving part of a broker asks the replicating part.
///
/// Threads   any; reads of atomics, but for promote and status.
class ReplicaInfo {
public:
    ReplicaInfo() = default;
    ReplicaInfo(const ReplicaInfo&) = delete;
    ReplicaInfo& operator=(const ReplicaInfo&) = delete;
    virtual ~ReplicaInfo() = default;

    virtual ReplicaRole role() const noexcept = 0;
    virtual std::int64_t epoch() const noexcept = 0;
    /// replication.member; what a slave registers under at the nameservers.
    virtual std::int64_t member() const noexcept = 0;
    /// Copies that an acknowledgement waits for, the master's own included.
    virtual std::uint32_t in_sync() const noexcept = 0;
    /// How far senders may be told that their messages are stored: readers may see more, when
    /// copies left while something was on its way to them.
    virtual LogOffset acknowledged() const noexcept = 0;
    /// A master whose lease has run out, or that was deposed, acknowledges nothing.
    virtual bool may_acknowledge() const noexcept = 0;
    /// Client address of a slave in sync that stock and native readers may be sent to, with its
    /// member id; -1: none.
    virtual std::int64_t reading_slave() const noexcept = 0;
    /// Where clients reach the master; empty: nobody knows.
    virtual std::string master_address() const = 0;
    /// Where members reach this one; what the nameservers are told as haServerAddr. Empty: nowhere.
    virtual std::string replication_address() const = 0;

    /// Whether requests that change something are carried out.
    bool takes_writes() const noexcept {
        return role() != ReplicaRole::kSlave && may_acknowledge();
    }

    /// Answers on any thread, once.
    virtual void status(std::function<void(wire::ReplicaStatus)> done) = 0;
    virtual void promote(const wire::PromoteRequest& request,
                         std::function<void(Result<wire::PromoteResponse>)> done) = 0;
};

/// What a broker is known by beside its name: 0 a master, its member number a slave; `configured`
/// where there is no replication.
inline std::int64_t broker_id(const ReplicaInfo& replica, std::int64_t configured) noexcept {
    switch (replica.role()) {
        case ReplicaRole::kSlave:
            return replica.member();
        case ReplicaRole::kMaster:
            return 0;
        case ReplicaRole::kAlone:
            break;
    }
    return configured;
}

/// What a broker without replication says: it is alone, and always master.
class AloneReplica final : public ReplicaInfo {
public:
    ReplicaRole role() const noexcept override { return ReplicaRole::kAlone; }

    std::int64_t epoch() const noexcept override { return 0; }

    std::int64_t member() const noexcept override { return 0; }

    std::uint32_t in_sync() const noexcept override { return 1; }

    LogOffset acknowledged() const noexcept override { return LogOffset(INT64_MAX); }

    bool may_acknowledge() const noexcept override { return true; }

    std::int64_t reading_slave() const noexcept override { return -1; }

    std::string master_address() const override { return {}; }

    std::string replication_address() const override { return {}; }

    void status(std::function<void(wire::ReplicaStatus)> done) override {
        wire::ReplicaStatus alone;
        alone.set_ismaster(true);
        done(std::move(alone));
    }

    /// kUnsupported.
    void promote(const wire::PromoteRequest& /*request*/,
                 std::function<void(Result<wire::PromoteResponse>)> done) override {
        done(Error{Errc::kUnsupported, "replication.mode is off: there is nothing to promote"});
    }
};

}  // namespace gantry::broker
