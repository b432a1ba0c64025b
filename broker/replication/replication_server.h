// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/group_state.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/metrics.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/replication.pb.h"
#include "storage/replica/replica_log.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

/// What both ends of a replication link are told at start.
struct LinkOptions {
    std::string group;  ///< broker name
    std::string cluster;
    MemberId self;
    std::string secret;  ///< replication.secret; empty: peers are not authenticated
    std::string client_address;
    std::uint64_t segment_bytes = 0;
    MetricRegistry* metrics = nullptr;  ///< null: counted, and not shown; outlives both ends
    std::uint64_t window_bytes = std::uint64_t{64} << 20U;  ///< sent and not acknowledged, a slave
    std::uint64_t frame_bytes_max = std::uint64_t{1} << 20U;
    std::uint64_t hot_bytes = std::uint64_t{32} << 20U;  ///< behind the end: taken as in memory
    std::uint64_t seed_bytes_per_second = 0;  ///< of a slave that is not in sync; 0: no limit
    std::chrono::milliseconds heartbeat{500};
    std::chrono::milliseconds silence_max{3'000};  ///< then the link is taken as dead
};

/// The master's end of replication, and the port where members ask one another. Each slave gets the
/// log from where it stands, in frames with their checksum, as far as its window allows:
///
///   challenge <- -> hello {epochs, end} -> welcome {from | cut | seed | not master}
///   frame {epoch, offset, length, confirmed, sum} ->  ...  <- ack {end}
///
/// Threads   one loop of its own, "replica", which callbacks come on; lead, yield, appended,
///           confirm, status: any.
/// Errors    listen: those of net::Server. Peers: an acknowledgement beyond what was sent, a hello
///           of another group or segment size, a proof that is wrong: the connection is closed,
///           told in the log.
/// Lifetime  loop, store and callbacks outlive it.
class ReplicationServer {
public:
    /// Called on the loop.
    struct Callbacks {
        /// A slave has the log up to `end`, and had everything there was at `caught_up_at`.
        std::function<void(const MemberId&, LogOffset end, SteadyTime caught_up_at)> on_ack;
        std::function<void(const MemberId&)> on_lost;
        /// Somebody obeys a higher epoch than this broker knows.
        std::function<void(std::int64_t epoch)> on_higher_epoch;
        /// What ReplicaStatus says; links are added.
        std::function<wire::ReplicaStatus()> status;
    };

    ReplicationServer(net::EventLoop& loop, Clock& clock, LinkOptions options, Callbacks callbacks);
    ~ReplicationServer();
    ReplicationServer(const ReplicationServer&) = delete;
    ReplicationServer& operator=(const ReplicationServer&) = delete;

    /// Takes connections from now on; port 0: the kernel picks.
    Status listen(const std::string& address, std::uint16_t port);
    std::uint16_t port() const noexcept;

    /// The store whose log it gives out; null: between two stores. Ends the links, and waits for
    /// reads of the store before that are under way. On the loop.
    void set_store(storage::Store* store);
    /// This broker is master of that epoch: slaves are taken from now on. On the loop.
    void lead(std::int64_t epoch);
    /// It is not any more: links end. `master`, `address`: who is, as far as known. On the loop.
    void yield(std::int64_t master, const std::string& address);
    /// Something was appended: slaves get it. Any thread; cheap.
    void appended();
    /// How far the in-sync set has the log; travels with the next frame or at once. On the loop.
    void confirm(LogOffset to);
    /// What is known of each slave. On the loop.
    std::vector<wire::ReplicaLink> links() const;
    /// Ends everything; no callback comes any more. Not on the loop while that runs. Blocks.
    void close();

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace gantry::broker
