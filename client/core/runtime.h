// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/core/loop_slot.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/record.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace gantry::client {

class Heartbeats;
class Nameservers;
class RouteTable;

/// Bytes of messages that a process holds for producers (unsent) and consumers (unconsumed).
/// Threads: any.
class MemoryBudget {
public:
    explicit MemoryBudget(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

    /// False, and nothing taken, when it does not fit. An empty budget takes anything.
    bool try_take(std::uint64_t bytes) noexcept {
        const std::uint64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
        if (before != 0 && before + bytes > bytes_max_) {
            used_.fetch_sub(bytes, std::memory_order_relaxed);
            return false;
        }
        return true;
    }

    /// Takes what has arrived already.
    void take(std::uint64_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }

    void give(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

    bool is_full() const noexcept { return used() >= bytes_max_; }

    std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }

    std::uint64_t bytes_max() const noexcept { return bytes_max_; }

private:
    std::atomic<std::uint64_t> used_{0};
    const std::uint64_t bytes_max_;
};

/// What every client object of one process stands on: loop threads with their connections, the
/// nameservers, routes and heartbeats (these three live on the first loop, the control loop).
///
/// Threads   any, but for what loop_slot.h says.
/// Lifetime  outlives everything made on it; the destructor stops the loops and must not run in
///           one of them.
class Runtime {
public:
    /// kRefused: no nameserver, a malformed address, a loop count out of range.
    static Result<std::unique_ptr<Runtime>> start(const Client::Options& options);
    ~Runtime();
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;

    /// A loop for one more producer or consumer, in turn.
    LoopSlot& next_slot() noexcept;

    LoopSlot& control() noexcept { return *slots_.front(); }

    Nameservers& nameservers() noexcept { return *nameservers_; }

    RouteTable& routes() noexcept { return *routes_; }

    Heartbeats& heartbeats() noexcept { return *heartbeats_; }

    MemoryBudget& memory() noexcept { return memory_; }

    MetricRegistry& metrics() noexcept { return metrics_; }

    const Clock& clock() const noexcept { return clock_; }

    const std::string& client_id() const noexcept { return client_id_; }

    /// This machine's address as the nameservers see it; port 0.
    const wire::Host& local_host() const noexcept { return local_host_; }

    /// Takes a consumer group for one member of this client: brokers tell members apart by client
    /// id. False: it is taken.
    bool try_claim_group(const std::string& group);
    void release_group(const std::string& group);

    std::chrono::microseconds spin() const noexcept { return options_.spin; }

private:
    explicit Runtime(const Client::Options& options);

    void master_left(const std::string& broker, const std::string& address, bool is_deposed);

    Client::Options options_;
    SystemClock clock_;
    MetricRegistry metrics_;
    MemoryBudget memory_;
    wire::Host local_host_;
    std::string client_id_;
    std::vector<std::unique_ptr<LoopSlot>> slots_;
    std::unique_ptr<Nameservers> nameservers_;
    std::unique_ptr<RouteTable> routes_;
    std::unique_ptr<Heartbeats> heartbeats_;
    std::atomic<std::size_t> next_slot_{0};
    Mutex groups_mutex_;
    std::set<std::string> groups_ GANTRY_GUARDED_BY(groups_mutex_);
};

}  // namespace gantry::client
