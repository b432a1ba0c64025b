// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/follower.h"
#include "broker/replication/link/link_metrics.h"
#include "broker/replication/link/log_writer.h"
#include "common/random.h"
#include "protocol/net/connection.h"
#include "protocol/net/dialer.h"
#include "protocol/wire/replication.pb.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace gantry::broker {

/// One follower's link under way, or the pause between two; for the follower's own sources. What is
/// agreed on at the start of a link is in follower_handshake.cc.
struct Follower::State final : net::ConnectionHandler, std::enable_shared_from_this<State> {
    /// How far the link is.
    enum class Phase : std::uint8_t {
        kIdle,     ///< follows nobody
        kPausing,  ///< until the next dial
        kDialling,
        kChallenging,  ///< asked for the challenge
        kDraining,     ///< has it; what an earlier link brought is still being appended
        kGreeting,     ///< said hello
        kSeeding,      ///< asked for a seed
        kFollowing,
    };

    State(net::EventLoop& its_loop, Clock& its_clock, LinkOptions wanted, Callbacks wishes)
        : loop(its_loop),
          clock(its_clock),
          options(std::move(wanted)),
          callbacks(std::move(wishes)),
          metrics(options.metrics),
          random(random_seed()),
          redial_timer(its_loop, [this] { dial(); }),
          ticker(its_loop, [this] { tick(); }) {}

    void on_open(net::Connection& /*connection*/) override {}

    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& lost, const Error& why) override;

private:
    friend class Follower;

    void follow(storage::Store& its_store, std::int64_t its_epoch, const std::string& its_address);
    void unfollow();
    void start_writer();
    void dial();
    void on_dialled(Result<UniqueFd> dialled);
    void redial_later();
    void drop_connection();
    void lose(const Error& why);
    void request(wire::RequestCode code, const google::protobuf::Message* fields);

    void on_answer(const net::Received& frame);
    void on_challenge(const net::Received& frame);
    void say_hello();
    void on_welcome(const net::Received& frame);
    void on_refusal(const net::Received& frame, const wire::ReplicaWelcome& fields, bool is_proved);
    void do_as_told(const wire::ReplicaWelcome& fields);
    void on_seed(const net::Received& frame);
    void begin_following();

    void on_log_frame(const net::Received& frame);
    Status check(const wire::ReplicaFrame& fields, Bytes body);
    void take(const wire::ReplicaFrame& fields, const net::Received& frame);
    void send_ack(std::int64_t sent_at);
    void on_progress();
    void on_writer_failed(const Error& why);
    void tick();

    net::EventLoop& loop;
    Clock& clock;
    const LinkOptions options;
    Callbacks callbacks;
    LinkMetrics metrics;
    Random random;
    net::Timer redial_timer;
    net::Timer ticker;

    storage::Store* store = nullptr;
    std::unique_ptr<LogWriter> writer;
    std::int64_t epoch = 0;
    std::string address;
    std::uint64_t turn = 0;  ///< counts follow and unfollow: what was posted before is void
    Phase phase = Phase::kIdle;
    std::unique_ptr<net::Dialer> dialer;
    std::shared_ptr<net::Connection> connection;
    std::int32_t opaque = 0;
    std::string master_nonce;
    std::string own_nonce;
    LogOffset next;  ///< where the next frame begins
    SteadyTime heard_at{};
    SteadyTime following_since{};
    std::uint64_t read_at_heard = 0;
    std::uint32_t failures = 0;  ///< dials and links that led to nothing, in a row
    std::int64_t last_sent_at = 0;
    bool is_held = false;
    bool is_quiet = false;  ///< the same refusal was told before
    std::atomic<bool> is_progress_posted{false};
    std::int64_t master_end = -1;
    std::int64_t master_confirmed = -1;
};

}  // namespace gantry::broker
