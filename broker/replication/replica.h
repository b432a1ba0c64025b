// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

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
    /// A master whose lease has run out, or that was deposed, acknowledges nothing.
    virtual bool may_acknowledge() const noexcept = 0;
    /// Client address of a slave in sync that stock and native readers may be sent to, with its
    /// member id; -1: none.
    virtual std::int64_t reading_slave() const noexcept = 0;
    /// Where clients reach the master; empty: nobody knows.
    virtual std::string master_address() const = 0;
    /// Answers on any thread, once.
    virtual void status(std::function<void(wire::ReplicaStatus)> done) = 0;
    virtual void promote(const wire::PromoteRequest& request,
                         std::function<void(Result<wire::PromoteResponse>)> done) = 0;
};

}  // namespace gantry::broker
