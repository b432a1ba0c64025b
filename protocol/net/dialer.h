// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/unique_fd.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <memory>
#include <string>

namespace gantry::net {

/// Turns "host:port" into a connected socket without blocking: a numeric address at once, a name by
/// the loop's resolver; all its addresses in turn inside one time limit.
///
/// Threads   the loop's thread only.
/// Errors    kRefused: not host:port. kGone: no address, nobody answers, or refused; the text names
///           the address and the reason.
/// Lifetime  `done` comes once for each start, never from inside start or after cancel. It may
///           destroy the dialer.
class Dialer {
public:
    using OnDialled = UniqueFunction<void(Result<UniqueFd>)>;

    Dialer(EventLoop& loop, std::string address);
    ~Dialer();
    Dialer(const Dialer&) = delete;
    Dialer& operator=(const Dialer&) = delete;

    /// Starts; nothing else may be under way.
    void start(std::chrono::milliseconds timeout, OnDialled done);
    void cancel();
    bool is_dialling() const noexcept;
    /// Whether the last failure was that nobody listens there: the host lives, the program does
    /// not.
    bool was_refused() const noexcept;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace gantry::net
