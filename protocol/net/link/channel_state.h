// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"
#include "protocol/net/channel.h"
#include "protocol/net/dialer.h"
#include "protocol/net/pending_table.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

namespace gantry::net {

/// What a channel is made of. Threads: the loop's.
struct Channel::State final : ConnectionHandler, PassEnd {
    /// A request that waits for the link.
    struct Queued {
        std::int32_t opaque = 0;
        SteadyTime deadline{};
        std::string head;
        std::string body;
        Done done;  // empty: one-way
    };

    State(EventLoop& its_loop, Options wanted)
        : loop(its_loop),
          options(std::move(wanted)),
          dialer(loop, options.address),
          deadline_timer(loop, [this] { on_deadline(); }),
          redial_timer(loop, [this] { dial(); }),
          sweep_timer(loop, [this] { on_sweep(); }),
          random(random_seed()) {}

    void call(Request&& request, std::chrono::milliseconds timeout, Done&& done);
    Status send_oneway(Request&& request);
    void connect();
    void abandon();
    void close();

    bool is_up() const noexcept { return connection != nullptr && connection->is_open(); }

    std::size_t in_flight() const noexcept { return pending.size() + queue.size(); }

    void on_open(Connection& /*connection*/) override {}

    void on_frame(const Received& frame) override;
    void on_close(Connection& lost, const Error& why) override;
    void on_pass_end() override;

    void drop_link(std::uint64_t written, const std::string& why);
    Status admit(std::size_t body_bytes) const;
    std::int32_t next_opaque();
    wire::HeaderToSend header_of(const Request& request, std::int32_t opaque) const;
    void send(std::string_view head, std::string&& body);
    void enqueue(Request&& request, std::int32_t opaque, SteadyTime deadline, Done&& done);
    void dial();
    void on_dialled(Result<UniqueFd> dialled);
    void on_dial_failed(const Error& why);
    void schedule_redial();
    void send_queue();
    void arm(SteadyTime deadline);
    void on_deadline();
    void on_sweep();
    void fail_all_queued(Errc code, const std::string& detail);
    void fail_later(Done&& done, Error why);
    void drain_failed();

    EventLoop& loop;
    Options options;
    Dialer dialer;
    Timer deadline_timer;
    Timer redial_timer;
    Timer sweep_timer;
    Random random;
    OnRequest request_handler;
    OnState state_handler;
    std::shared_ptr<Connection> connection;
    PendingTable pending;
    std::deque<Queued> queue;
    std::uint64_t queue_bytes = 0;
    std::deque<std::pair<Done, Error>> failed;
    SteadyTime armed_for = SteadyTime::max();
    std::int32_t last_opaque = 0;
    std::uint32_t failures = 0;  // dials and short-lived links in a row
    std::string last_failure = "not dialled yet";
    bool is_waiting = false;  // for the next dial
    bool has_dial_failed = false;
    bool is_idled_out = false;
    bool is_closed = false;
};

}  // namespace gantry::net
