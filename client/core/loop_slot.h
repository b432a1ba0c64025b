// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace gantry::client {

/// One loop thread of the client and its connections: one for each broker address that all share,
/// and those of producers that want their own.
///
/// Threads   the loop's thread only, but for loop(), post and stop.
class LoopSlot {
public:
    /// `spin` as in EventLoop::Options.
    static Result<std::unique_ptr<LoopSlot>> start(const std::string& name,
                                                   std::chrono::microseconds spin);
    LoopSlot(const LoopSlot&) = delete;
    LoopSlot& operator=(const LoopSlot&) = delete;
    ~LoopSlot();

    net::EventLoop& loop() noexcept { return *loop_; }

    /// The connection to that address, made on first use; the same object until stop or drop.
    /// Owner 0 is everybody; another number is from new_owner.
    net::Channel& channel(const std::string& address, std::uint64_t owner = 0);

    /// As channel, for a server that others can stand in for: a failed dial fails what waits.
    net::Channel& fail_fast_channel(const std::string& address, std::uint64_t owner);

    /// A number for connections of one's own. Any thread.
    std::uint64_t new_owner() noexcept { return ++last_owner_; }

    /// Closes the owner's connections. Not from a callback of one of them.
    void drop(std::uint64_t owner);

    /// Fails what waits for an answer of that address, or for a link to it, so that it is sent
    /// where it belongs now. `only_down`: leaves links that are up. The loop's thread, not from a
    /// callback of one of its channels.
    void abandon(const std::string& address, bool only_down);

    /// Sees every channel before its first request.
    void on_new_channel(std::function<void(net::Channel&)> hook) { hook_ = std::move(hook); }

    /// Runs `task` in the loop's thread; false when the loop takes no more.
    bool post(net::Task task) { return loop_->post(std::move(task)).has_value(); }

    /// Runs `task` in the loop's thread after a while; never when the slot stops before. Any
    /// thread.
    void post_after(std::chrono::milliseconds delay, net::Task task);

    /// Runs `task` in the loop's thread and waits for its end. Not from a loop thread.
    void run_and_wait(net::Task task);

    /// Runs `last` in the loop's thread, closes the connections there, and ends the thread.
    void stop(net::Task last);

private:
    net::Channel& find_or_make(const std::string& address, std::uint64_t owner, bool fail_fast);

    explicit LoopSlot(std::unique_ptr<net::EventLoop> loop);

    std::unique_ptr<net::EventLoop> loop_;
    std::function<void(net::Channel&)> hook_;
    std::map<std::pair<std::uint64_t, std::string>, std::unique_ptr<net::Channel>> channels_;
    std::map<std::uint64_t, std::unique_ptr<net::Timer>> timers_;
    std::uint64_t last_timer_ = 0;
    std::atomic<std::uint64_t> last_owner_{0};
    bool is_stopping_ = false;  // the loop's thread
    bool stopped_ = false;
};

/// Success, or the error that the peer's response code stands for, with its remark and `peer`.
Status check_response(const net::Received& received, std::string_view peer);

/// Fields of a successful answer as `Fields`. Errors of the call, of the peer, of the bytes.
template <class Fields>
Result<Fields> fields_of(Result<net::Received>& result, std::string_view peer) {
    if (!result) {
        return result.error();
    }
    GANTRY_TRY(check_response(*result, peer));
    Fields fields;
    GANTRY_TRY(wire::decode_fields(result->header, fields));
    return fields;
}

/// Body of a successful answer as `Body`.
template <class Body>
Result<Body> body_of(Result<net::Received>& result, std::string_view peer) {
    if (!result) {
        return result.error();
    }
    GANTRY_TRY(check_response(*result, peer));
    Body body;
    GANTRY_TRY(wire::decode_body(result->header.codec, result->body, body));
    return body;
}

}  // namespace gantry::client
