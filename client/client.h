// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

class Runtime;

/// Which protocol a client speaks to its nameservers and brokers.
///
///   kGantry    Gantry's own: its daemons only, everything the library has
///   kRocketMq  RocketMQ's (4.9 and 5): its daemons, and Gantry's too, in any mixture. What
///   RocketMQ
///              has no request for is refused with kUnsupported: docs/guide/rocketmq-clusters.md
///   kDetect    start() asks a nameserver, once, and takes that one's; it is the brokers' too
///   unless
///              daemons of both kinds are mixed
enum class Dialect : std::uint8_t { kGantry, kRocketMq, kDetect };

/// "gantry", "rocketmq", "detect".
std::string_view name_of(Dialect dialect) noexcept;

/// What producers, consumers and admin clients of one process share: loop threads, connections to
/// brokers and nameservers, routes with their watch, heartbeats.
///
/// Threads   any.
/// Lifetime  kept alive by whoever was made from it; shut down when the last goes, which must not
///           be in a callback.
/// Errors    start: kRefused for a malformed address; with kDetect those of nameservers none of
///           which answers within 3 s.
class Client {
public:
    /// What the process shares.
    struct Options {
        std::vector<std::string> nameservers;  ///< "host:port", tried in turn
        std::uint32_t loop_count = 1;
        std::chrono::microseconds spin{0};  ///< how long a loop polls before it sleeps
        std::uint64_t memory_bytes_max = std::uint64_t{256} << 20U;  ///< unsent and unconsumed
        std::string instance;  ///< part of the client id; empty: process id and a random number
        Dialect dialect = Dialect::kGantry;
    };

    /// Starts the loop threads. Asks nobody yet, but with kDetect: a nameserver that is away shows
    /// at the first use. Not from a callback.
    static Result<std::shared_ptr<Client>> start(const Options& options);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// "ip@instance", as brokers list it.
    const std::string& client_id() const noexcept;
    /// What it speaks: kGantry or kRocketMq.
    Dialect dialect() const noexcept;
    MetricRegistry& metrics() noexcept;

    /// For the library's own classes.
    Runtime& runtime() noexcept { return *runtime_; }

private:
    explicit Client(std::unique_ptr<Runtime> runtime);
    std::unique_ptr<Runtime> runtime_;
};

}  // namespace gantry::client
