// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/net/connection.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::net {

/// Listens on one address and spreads accepted connections round-robin over its loops.
///
/// A connection's id says its loop, its place in the loop's table and a number never used twice, so
/// find() is an index and a comparison.
///
/// Threads   listen, port, stop: any thread but a loop's. find: the loop's thread.
/// Errors    listen: kConflict when the port is in use, kIo otherwise, with address and errno text.
///           At connections_max, and when descriptors run out, accepting pauses and resumes by
///           itself; it never spins.
/// Lifetime  loops and handler outlive the server. After stop() no handler call is running.
class Server {
public:
    /// Where to listen, and what the connections may use.
    struct Options {
        std::string address = "0.0.0.0";
        std::uint16_t port = 0;  ///< 0: the kernel picks; see port()
        std::uint32_t connections_max = 10'000;
        ConnectionLimits connection;
    };

    /// The loops must not have stopped; they may be not running yet. The first one accepts.
    static Result<std::unique_ptr<Server>> listen(const Options& options,
                                                  std::vector<EventLoop*> loops,
                                                  ConnectionHandler& handler);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::uint16_t port() const noexcept;

    /// The living connection of that id on the calling loop, or null.
    Connection* find(ConnectionId id);
    /// The loop an id belongs to, for posting.
    EventLoop& loop_of(ConnectionId id);

    std::uint64_t connection_count() const noexcept;

    /// Stops accepting, lets queued output drain for `drain_limit`, then closes everything. Blocks.
    /// Every connection gets its on_close; where a loop has stopped, in the calling thread.
    void stop(std::chrono::milliseconds drain_limit);

private:
    struct State;
    explicit Server(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace gantry::net
