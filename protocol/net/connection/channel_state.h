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
        Done done;  ///< empty: one-way
    };

    State(EventLoop& its_loop, Options wanted)
        : loop(its_loop),
          options(std::move(wanted)),
          dialer(loop, options.address),
          deadline_timer(loop, [this] { on_deadline(); }),
          redial_timer(loop, [this] { dial(); }),
          sweep_timer(loop, [this] { on_sweep(); }),
          random(random_seed()) {}

    /// As the channel's.
    void call(Request&& request, std::chrono::milliseconds timeout, Done&& done);
    /// As the channel's.
    Status send_oneway(Request&& request);
    /// As the channel's.
    void connect();
    /// As the channel's.
    void abandon();
    /// As the channel's.
    void close();

    /// Whether there is a link.
    bool is_up() const noexcept { return connection != nullptr && connection->is_open(); }

    /// Requests without an answer.
    std::size_t in_flight() const noexcept { return pending.size() + queue.size(); }

    void on_open(Connection& /*connection*/) override {}

    void on_frame(const Received& frame) override;
    void on_close(Connection& lost, const Error& why) override;
    void on_pass_end() override;

    /// Fails what was sent: kUnknown as far as it was written, else kGone.
    void drop_link(std::uint64_t written, const std::string& why);
    /// Whether one more request is taken. kClosed, kBusy, kGone.
    Status admit(std::size_t body_bytes) const;
    /// A number that no open request has.
    std::int32_t next_opaque();
    /// The request's header under that number.
    wire::HeaderToSend header_of(const Request& request, std::int32_t opaque) const;
    /// Puts an encoded request on the link, which is up.
    void send(std::string_view head, std::string&& body);
    /// Keeps a request until the link is up, and dials.
    void enqueue(Request&& request, std::int32_t opaque, SteadyTime deadline, Done&& done);
    /// Dials, unless there is a link or a dial under way.
    void dial();
    /// A dial has ended.
    void on_dialled(Result<UniqueFd> dialled);
    /// The same, without a link.
    void on_dial_failed(const Error& why);
    /// Dials after a pause that doubles.
    void schedule_redial();
    /// Sends what waited for the link.
    void send_queue();
    /// Has on_deadline run by then.
    void arm(SteadyTime deadline);
    /// Fails what is late.
    void on_deadline();
    /// Looks for an idle link.
    void on_sweep();
    /// Marks all that waits for the link as failed.
    void fail_all_queued(Errc code, const std::string& detail);
    /// Fails a request at the end of the pass.
    void fail_later(Done&& done, Error why);
    /// Tells who waits for what has failed.
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
    std::uint32_t failures = 0;  ///< dials and short-lived links in a row
    std::string last_failure = "not dialled yet";
    bool is_waiting = false;  ///< for the next dial
    bool has_dial_failed = false;
    bool is_idled_out = false;
    bool is_closed = false;
};

}  // namespace gantry::net
