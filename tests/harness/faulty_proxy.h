// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace gantry::harness {

/// A TCP proxy on the loopback whose network can be made bad.
///
///   pass    bytes go through, each after the delay
///   drop    bytes are taken and thrown away, connections stay open: a black hole
///   cut     open connections are reset, new ones are closed at once
///
/// Threads   any. The proxy's own thread does the forwarding.
class FaultyProxy {
    struct Private {};

public:
    /// Forwards to 127.0.0.1:`target_port`.
    static Result<std::unique_ptr<FaultyProxy>> start(std::uint16_t target_port);

    /// For start only.
    explicit FaultyProxy(Private);
    ~FaultyProxy();
    FaultyProxy(const FaultyProxy&) = delete;
    FaultyProxy& operator=(const FaultyProxy&) = delete;

    std::uint16_t port() const noexcept;

    /// "127.0.0.1:port".
    std::string address() const;

    /// Back to normal for new connections and those still open.
    void pass();
    void drop();
    void cut();
    /// Resets the open connections; new ones pass.
    void cut_once();
    /// On connections made from now on, every `nth` frame of the client arrives twice; 0: none.
    void duplicate_every(std::uint32_t nth);
    /// Delay of each direction from now on.
    void delay(std::chrono::milliseconds by);

    /// Connections open through it at the moment.
    std::size_t connection_count() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace gantry::harness
