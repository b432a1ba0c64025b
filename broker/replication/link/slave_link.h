// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/flow/token_bucket.h"
#include "broker/replication/link/link_metrics.h"
#include "broker/replication/replication_server.h"
#include "broker/work_pool.h"
#include "protocol/net/connection.h"
#include "protocol/wire/replication.pb.h"
#include "storage/replica/replica_log.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

namespace gantry::broker {

/// What all links of a master have in common. Outlives them.
struct LinkSource {
    net::EventLoop& loop;
    Clock& clock;
    const LinkOptions& options;
    LinkMetrics& metrics;
    storage::Store* store = nullptr;
    WorkPool* readers = nullptr;  ///< for log bytes that may have to come from the disk
    std::int64_t epoch = 0;
    LogOffset confirmed{};
    /// Set: the next append has to tell the loop, somebody waits for it.
    std::atomic<bool> is_armed{false};
};

/// The master's end of one slave's link: what was sent, taken in and acknowledged.
///
///   |-- acknowledged --|-- taken in --|-- in the window --|        appended
///                     end          received              sent
///
/// Bytes near the end of the log are sent at once, by reference; those further back are looked at
/// by a reader thread first, one piece at a time, since they may have to come from the disk.
///
/// Threads   the loop's.
/// Errors    stop() says why a link ends; its owner closes the connection then.
/// Lifetime  the source outlives it. stopped() before the connection dies.
class SlaveLink : public std::enable_shared_from_this<SlaveLink> {
public:
    SlaveLink(LinkSource& source, net::Connection& connection, MemberId id, std::string address);

    /// Bytes follow from there on.
    void start(LogOffset from);
    /// Sends what there is as far as the window allows.
    void pump();
    /// kRefused: it says what cannot be, and nothing of it counts.
    Status take(const wire::ReplicaAck& ack);
    /// A heartbeat; kTimeout: the slave was silent for too long.
    Status tick(SteadyTime now);
    /// Confirmed has moved.
    void confirmed();

    /// The connection is lost.
    void stopped() { connection_ = nullptr; }

    void set_in_sync(bool is_in_sync) { is_in_sync_ = is_in_sync; }

    const MemberId& id() const noexcept { return id_; }

    net::Connection* connection() const noexcept { return connection_; }

    LogOffset acknowledged() const noexcept { return end_; }

    /// When it had everything there was.
    SteadyTime caught_up_at() const noexcept { return caught_up_at_; }

    wire::ReplicaLink describe() const;

private:
    /// Whoever has the log up to `end` has everything that there was at `at`.
    struct Mark {
        LogOffset end;
        SteadyTime at;
    };

    std::int64_t hot_bytes() const noexcept;
    bool must_wait(LogOffset& end, SteadyTime& now);
    std::uint64_t room(LogOffset end, SteadyTime now);
    void read(std::uint64_t bytes);
    void on_read(Result<storage::LogPiece> piece);
    bool send(Result<storage::LogPiece> piece);
    void send_frame(const storage::LogPiece& piece, LogOffset log_end);
    void send_heartbeat();
    void pump_later();
    void fail(const Error& why);

    LinkSource& source_;
    net::Connection* connection_;
    const MemberId id_;
    const std::string address_;
    LogOffset sent_;
    LogOffset received_;
    LogOffset end_;
    LogOffset sent_confirmed_;
    SteadyTime heard_at_{};
    SteadyTime caught_up_at_{};
    std::deque<Mark> marks_;
    std::int64_t round_trip_us_ = 0;
    TokenBucket pace_;
    LogOffset paced_end_;  ///< of the log when it was paced last
    net::Timer pace_timer_;
    bool is_in_sync_ = false;
    bool is_reading_ = false;
    bool is_stalled_ = false;
    bool is_pump_posted_ = false;
};

}  // namespace gantry::broker
