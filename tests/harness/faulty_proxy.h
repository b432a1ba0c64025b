// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"

#include <chrono>
#include <cstddef>
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
    /// Of bytes, as seen by who dialled.
    enum class Direction : std::uint8_t { kToTarget, kToClient };

    /// Where it listens: an address of the loopback, and a port, or 0 for any.
    struct Listen {
        std::string host = "127.0.0.1";
        std::uint16_t port = 0;
    };

    /// Forwards to 127.0.0.1:`target_port`. With Listen{"127.0.1.1", P} it stands before a program
    /// that listens on 127.0.0.1:P and gives 127.0.1.1 as its address.
    static Result<std::unique_ptr<FaultyProxy>> start(std::uint16_t target_port);
    static Result<std::unique_ptr<FaultyProxy>> start(std::uint16_t target_port,
                                                      const Listen& where);

    /// For start only.
    explicit FaultyProxy(Private);
    ~FaultyProxy();
    FaultyProxy(const FaultyProxy&) = delete;
    FaultyProxy& operator=(const FaultyProxy&) = delete;

    std::uint16_t port() const noexcept;

    /// "host:port" where it listens.
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
    /// With `yes` bytes of that direction wait, as in a network cut one way: nothing of them is
    /// lost, TCP would send them again. Connections can be made, and those open stay.
    void hold(Direction direction, bool yes);
    /// Bytes a second that each direction of each connection lets through; 0: all.
    void limit_rate(std::uint64_t bytes_per_second);
    /// One bit of what passes next in that direction is turned.
    void flip_bit(Direction direction);

    /// Connections open through it at the moment.
    std::size_t connection_count() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace gantry::harness
