// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/loop_slot.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/channel.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::client {

/// A question for any nameserver. `fields` and `body` are kept for the next attempt.
struct Question {
    wire::RequestCode code{};
    std::shared_ptr<const google::protobuf::Message> fields;
    std::string body;
};

/// The nameservers, asked one after the other until one answers. Each attempt has a deadline of its
/// own, so that a stuck one costs a part of the time only; one that is connected comes first.
///
/// Threads   the control loop's. Errors: kGone or kTimeout when none answered in time; an answer
/// with any response code is a success here.
/// Lifetime  `done` is called exactly once, at the latest when the slot stops.
class Nameservers {
public:
    using OnAnswer = UniqueFunction<void(Result<net::Received>&, const std::string& address)>;

    Nameservers(LoopSlot& slot, std::vector<std::string> addresses);

    /// `hold`: how long the server may park the question beyond the usual.
    void ask(Question question,
             std::chrono::milliseconds timeout,
             std::chrono::milliseconds hold,
             OnAnswer done);

    /// Asks one server.
    void ask_one(const std::string& address,
                 const Question& question,
                 std::chrono::milliseconds timeout,
                 OnAnswer done);

    const std::vector<std::string>& addresses() const noexcept { return addresses_; }

    /// The server to ask first now.
    const std::string& best() { return addresses_[pick()]; }

    /// Turns to the next server if `address` is the one asked first.
    void report_failure(const std::string& address);

    /// Fails what pauses between attempts; control loop, before the slot stops.
    void stop();

private:
    struct Attempt;

    void start(std::shared_ptr<Attempt> attempt);
    void finish_attempt(const std::shared_ptr<Attempt>& attempt,
                        Result<net::Received>& result,
                        std::size_t at);
    void resume_paused();
    std::size_t pick();

    net::Channel& channel(const std::string& address);

    LoopSlot& slot_;
    const std::uint64_t owner_;
    const std::vector<std::string> addresses_;
    std::size_t current_ = 0;
    std::vector<std::shared_ptr<Attempt>> paused_;
    std::unique_ptr<net::Timer> pause_timer_;
};

}  // namespace gantry::client
