// SPDX-License-Identifier: Apache-2.0
// When a connection is not read from: its peer takes no answers, memory is short, or its owner has
// enough.
#include "protocol/net/connection.h"
#include "protocol/net/connection/events.h"
#include "protocol/net/socket.h"

#include <string>
#include <utility>

namespace gantry::net {

namespace {

constexpr std::chrono::seconds kStarveMax{10};

}  // namespace

bool Connection::has_memory_in_loop() const {
    return limits_.memory == nullptr || !limits_.memory->is_full();
}

/// What it has read of a frame stays; sweep() looks whether there is room for the rest.
void Connection::starve_in_loop() {
    if (!std::exchange(is_starved_, true)) {
        starved_since_ = loop_.pass_time();
        event_del(&events_->readable);
    }
}

void Connection::feed_in_loop(SteadyTime now) {
    if (has_memory_in_loop()) {
        is_starved_ = false;
        if (phase_ == Phase::kOpen && may_read()) {
            event_add(&events_->readable, nullptr);
        }
    } else if (now - starved_since_ >= kStarveMax && phase_ == Phase::kOpen) {
        close({Errc::kBusy,
               peer_text_ + ": no memory for its frame, all connections hold " +
                   std::to_string(limits_.memory->used()) + " B of " +
                   std::to_string(limits_.memory->bytes_max()) + " B"});
    }
}

void Connection::balance_reading_in_loop() {
    const std::uint64_t waiting = output_.bytes();
    if (!is_reading_paused_ && waiting > limits_.output_bytes_max) {
        is_reading_paused_ = true;
        event_del(&events_->readable);
    } else if (is_reading_paused_ && waiting <= limits_.output_bytes_max / 2) {
        is_reading_paused_ = false;
        resume_reading_in_loop();
    }
}

bool Connection::may_read() const noexcept {
    return !is_reading_paused_ && !is_held_;
}

void Connection::resume_reading_in_loop() {
    if (!may_read()) {
        return;
    }
    if (!is_starved_) {
        event_add(&events_->readable, nullptr);
    }
    if (input_ != nullptr) {
        handle_frames_in_loop();
        release_input_in_loop();
    }
}

void Connection::hold_reading(bool held) {
    loop_.role().assert_held();
    if (held == std::exchange(is_held_, held) || phase_ != Phase::kOpen) {
        return;
    }
    if (held) {
        event_del(&events_->readable);
    } else {
        last_read_ = loop_.pass_time();
        resume_reading_in_loop();
    }
}

void Connection::set_user_timeout(std::chrono::milliseconds limit) noexcept {
    net::set_user_timeout(socket_.get(), limit);
}

}  // namespace gantry::net
