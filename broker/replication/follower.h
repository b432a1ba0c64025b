// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replication_server.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::broker {

/// A slave's end of replication: keeps a link to the master, takes its log bytes and tells how far
/// it has them. Frames of another epoch than the one it follows are refused, and end the link.
///
///   dial -> challenge, hello -> welcome -> frames ... -> lost -> dial again, with backoff
///
/// Threads   one loop, on which everything is called and calls back. Bytes are appended by a thread
///           of its own ("replica-log"), which may wait for the disk; acknowledgements follow its
///           flushes: sync flush acknowledges what is durable, else what is appended.
/// Lifetime  loop, store and callbacks outlive it; no callback after close().
class Follower {
public:
    /// What following needs others to do. Called on the loop.
    struct Callbacks {
        /// The log is of another history from `at` on: cut there, open anew, follow again.
        /// `is_foreign`: nothing is in common, put all of it aside.
        std::function<void(LogOffset at, bool is_foreign)> on_must_cut;
        /// The log is empty and the master's does not begin at 0: plant this, open anew.
        std::function<void(const wire::StoreSeed&)> on_seed;
        /// A peer obeys a higher epoch; `master` and `address` as far as it knows.
        std::function<void(std::int64_t epoch, std::int64_t master, const std::string& address)>
            on_other_master;
        /// The master's port refuses, or it was silent for too long.
        std::function<void(bool is_refused)> on_master_lost;
        /// The link is up, and the log follows.
        std::function<void()> on_following;
        /// The store takes no bytes: a full disk (tried again), or for good.
        std::function<void(const Error&)> on_store_failed;
    };

    Follower(net::EventLoop& loop, Clock& clock, LinkOptions options, Callbacks callbacks);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    /// Follows the master of `epoch` at `address` (replication port) into `store`, which follows.
    void follow(storage::Store& store, std::int64_t epoch, const std::string& address);
    /// Ends the link; when it returns nothing is appended to the store any more.
    void unfollow();

    bool is_following() const noexcept;
    /// The end of the master's log and its confirmed offset, as last heard; -1: nothing was.
    std::int64_t master_end() const noexcept;
    std::int64_t master_confirmed() const noexcept;

    /// Ends the link; no callback comes after it. Off the loop, or after it stopped.
    void close();

private:
    struct State;
    std::shared_ptr<State> state_;
};

/// Asks the member at `address` for its status. kTimeout, kGone. On the loop.
void ask_status(net::EventLoop& loop,
                const LinkOptions& options,
                const std::string& address,
                UniqueFunction<void(Result<wire::ReplicaStatus>)> done);

}  // namespace gantry::broker
