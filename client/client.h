// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client {

class Runtime;

/// What producers, consumers and admin clients of one process share: loop threads, connections to
/// brokers and nameservers, routes with their watch, heartbeats.
///
/// Threads   any.
/// Lifetime  kept alive by whoever was made from it; shut down when the last goes, which must not
///           be in a callback.
/// Errors    start: kRefused for a malformed address.
class Client {
public:
    /// What the process shares.
    struct Options {
        std::vector<std::string> nameservers;  ///< "host:port", tried in turn
        std::uint32_t loop_count = 1;
        std::chrono::microseconds spin{0};  ///< how long a loop polls before it sleeps
        std::uint64_t memory_bytes_max = std::uint64_t{256} << 20U;  ///< unsent and unconsumed
        std::string instance;  ///< part of the client id; empty: process id and a random number
    };

    /// Starts the loop threads. Asks nobody yet: a nameserver that is away shows at the first use.
    static Result<std::shared_ptr<Client>> start(const Options& options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// "ip@instance", as brokers list it.
    const std::string& client_id() const noexcept;
    MetricRegistry& metrics() noexcept;

    /// For the library's own classes.
    Runtime& runtime() noexcept { return *runtime_; }

private:
    explicit Client(std::unique_ptr<Runtime> runtime);
    std::unique_ptr<Runtime> runtime_;
};

}  // namespace gantry::client
