// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/channel.h"

#include "common/log.h"
#include "protocol/net/connection/channel_state.h"

#include <algorithm>
#include <utility>

namespace gantry::net {

namespace {

constexpr Logger kLog("net");
constexpr std::chrono::milliseconds kDeadlineGrain{10};
constexpr std::chrono::milliseconds kSweepMin{20};
constexpr std::chrono::milliseconds kSweepMax{5'000};
constexpr std::size_t kOwnedBodyBytes = std::size_t{16} << 10U;  // from here: not copied
constexpr std::uint32_t kBackoffDoublingsMax = 16;
constexpr std::uint64_t kDialledIdBit = std::uint64_t{1} << 63U;  // apart from ids of servers

}  // namespace

Status Channel::State::admit(std::size_t body_bytes) const {
    if (is_closed) {
        return Error{Errc::kClosed, "channel to " + options.address + " is closed"};
    }
    if (in_flight() >= options.in_flight_max) {
        return Error{Errc::kBusy,
                     "channel to " + options.address + ": in_flight_max " +
                         std::to_string(options.in_flight_max) + " requests wait"};
    }
    if (queue_bytes + body_bytes > options.connection.output_bytes_max ||
        (connection != nullptr &&
         connection->output_bytes() + body_bytes > options.connection.output_bytes_max)) {
        return Error{Errc::kBusy,
                     "channel to " + options.address + ": output_bytes_max " +
                         std::to_string(options.connection.output_bytes_max) + " B wait"};
    }
    if (options.fail_fast && has_dial_failed && is_waiting) {
        return Error{Errc::kGone, last_failure};
    }
    return ok();
}

std::int32_t Channel::State::next_opaque() {
    do {
        last_opaque = (last_opaque + 1) & 0x7FFFFFFF;
    } while (pending.contains(last_opaque));
    return last_opaque;
}

wire::HeaderToSend Channel::State::header_of(const Request& request, std::int32_t opaque) const {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(request.code);
    header.opaque = opaque;
    header.fields = request.fields;
    return header;
}

void Channel::State::call(Request&& request, std::chrono::milliseconds timeout, Done&& done) {
    loop.role().assert_held();
    if (Status admitted = admit(request.body.size()); !admitted) {
        fail_later(std::move(done), std::move(admitted).error());
        return;
    }
    const std::int32_t opaque = next_opaque();
    const SteadyTime deadline = loop.pass_time() + timeout;
    if (!is_up()) {
        enqueue(std::move(request), opaque, deadline, std::move(done));
        return;
    }
    pending.insert({.opaque = opaque,
                    .deadline = deadline,
                    .stream_position = connection->stream_position(),
                    .done = std::move(done)});
    OutputQueue& output = connection->output();
    wire::append_frame_head(
        output.tail(), options.codec, header_of(request, opaque), request.body.size());
    if (request.body.size() >= kOwnedBodyBytes) {
        output.append_owned(std::move(request.body));
    } else {
        output.append_copy(as_bytes(request.body));
    }
    arm(deadline);
}

Status Channel::State::send_oneway(Request&& request) {
    loop.role().assert_held();
    GANTRY_TRY(admit(request.body.size()));
    wire::HeaderToSend header = header_of(request, next_opaque());
    header.is_oneway = true;
    std::string head;
    wire::append_frame_head(head, options.codec, header, request.body.size());
    if (is_up()) {
        send(head, std::move(request.body));
        return ok();
    }
    queue_bytes += head.size() + request.body.size();
    queue.push_back({.opaque = header.opaque,
                     .deadline = loop.pass_time() + options.connect_timeout,
                     .head = std::move(head),
                     .body = std::move(request.body),
                     .done = {}});
    arm(queue.back().deadline);
    connect();
    return ok();
}

void Channel::State::enqueue(Request&& request,
                             std::int32_t opaque,
                             SteadyTime deadline,
                             Done&& done) {
    std::string head;
    wire::append_frame_head(head, options.codec, header_of(request, opaque), request.body.size());
    queue_bytes += head.size() + request.body.size();
    queue.push_back({.opaque = opaque,
                     .deadline = deadline,
                     .head = std::move(head),
                     .body = std::move(request.body),
                     .done = std::move(done)});
    arm(deadline);
    if (!is_waiting) {
        dial();
    }
}

void Channel::State::send(std::string_view head, std::string&& body) {
    OutputQueue& output = connection->output();
    output.append_copy(as_bytes(head));
    output.append_owned(std::move(body));
}

void Channel::State::connect() {
    is_waiting = false;
    redial_timer.cancel();
    dial();
}

void Channel::State::dial() {
    is_waiting = false;
    if (is_closed || connection != nullptr || dialer.is_dialling()) {
        return;
    }
    is_idled_out = false;
    dialer.start(options.connect_timeout,
                 [this](Result<UniqueFd> dialled) { on_dialled(std::move(dialled)); });
}

void Channel::State::on_dialled(Result<UniqueFd> dialled) {
    if (!dialled) {
        on_dial_failed(dialled.error());
        return;
    }
    has_dial_failed = false;
    loop.role().assert_held();
    const ConnectionId id(kDialledIdBit | loop.next_number());
    connection =
        std::make_shared<Connection>(loop, std::move(*dialled), id, options.connection, *this);
    const std::chrono::milliseconds idle = options.connection.idle_max;
    sweep_timer.start_every(idle.count() > 0 ? std::clamp(idle / 4, kSweepMin, kSweepMax)
                                             : kSweepMax);
    if (state_handler) {
        state_handler(true);
    }
    if (is_up()) {
        send_queue();
    }
}

void Channel::State::on_dial_failed(const Error& why) {
    // A malformed address never gets better, but may be answered like any other.
    if (failures == 0) {
        kLog.warn("dial_failed", {{"peer", options.address}, {"reason", why.detail}});
    }
    last_failure = why.detail;
    has_dial_failed = true;
    schedule_redial();
    if (options.fail_fast) {
        fail_all_queued(Errc::kGone, last_failure);
        drain_failed();
    }
}

void Channel::State::schedule_redial() {
    const std::uint32_t doublings = std::min(failures++, kBackoffDoublingsMax);
    const std::chrono::milliseconds longest =
        std::min(options.backoff_max, options.backoff_min * (std::int64_t{1} << doublings));
    // Half of it is jitter, so that clients of a restarted server do not come back as one.
    const auto half = static_cast<std::uint64_t>(longest.count()) / 2;
    is_waiting = true;
    redial_timer.start_once(std::chrono::milliseconds(half + random.below(half + 1)));
}

void Channel::State::send_queue() {
    const SteadyTime now = loop.pass_time();
    std::deque<Queued> waiting = std::exchange(queue, {});
    queue_bytes = 0;
    for (Queued& one : waiting) {
        if (one.deadline <= now) {
            if (one.done) {
                fail_later(std::move(one.done),
                           {Errc::kGone,
                            "no link to " + options.address + " by the deadline: " + last_failure});
            }
            continue;
        }
        if (one.done) {
            pending.insert({.opaque = one.opaque,
                            .deadline = one.deadline,
                            .stream_position = connection->stream_position(),
                            .done = std::move(one.done)});
        }
        send(one.head, std::move(one.body));
    }
}

void Channel::State::on_frame(const Received& frame) {
    failures = 0;
    if (!frame.header.is_response) {
        if (request_handler) {
            request_handler(frame);
        } else if (!frame.header.is_oneway) {
            frame.connection.reply(reply_to(frame),
                                   wire::ResponseCode::kRequestCodeNotSupported,
                                   "this client answers no requests");
        }
        return;
    }
    if (std::optional<Pending> answered = pending.take(frame.header.opaque)) {
        Result<Received> result(frame);
        answered->done(result);
    }
}

/// What was sent may have been carried out as far as it was written.
void Channel::State::drop_link(std::uint64_t written, const std::string& why) {
    loop.role().assert_held();
    loop.bury(std::exchange(connection, nullptr));
    sweep_timer.cancel();
    last_failure = why;
    for (Pending& one : pending.take_all()) {
        const bool has_left = one.stream_position < written;
        failed.emplace_back(std::move(one.done),
                            Error{has_left ? Errc::kUnknown : Errc::kGone,
                                  "link to " + options.address + " lost: " + why});
    }
}

void Channel::State::on_close(Connection& lost, const Error& why) {
    loop.role().assert_held();
    drop_link(lost.written_bytes(), why.detail);
    if (!is_idled_out || !queue.empty()) {
        kLog.info("link_lost", {{"peer", options.address}, {"reason", why.detail}});
        schedule_redial();
    }
    if (state_handler) {
        state_handler(false);
    }
    drain_failed();
}

void Channel::State::arm(SteadyTime deadline) {
    if (deadline < armed_for) {
        armed_for = deadline;
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(deadline - loop.pass_time());
        deadline_timer.start_once(std::max(wait, kDeadlineGrain));
    }
}

void Channel::State::on_deadline() {
    const SteadyTime now = loop.pass_time();
    armed_for = SteadyTime::max();
    if (pending.earliest() <= now) {
        for (Pending& one : pending.take_due(now)) {
            failed.emplace_back(
                std::move(one.done),
                Error{Errc::kTimeout, "no answer from " + options.address + " by the deadline"});
        }
    }
    SteadyTime next = pending.earliest();
    std::deque<Queued> waiting = std::exchange(queue, {});
    queue_bytes = 0;
    for (Queued& one : waiting) {
        if (one.deadline > now) {
            next = std::min(next, one.deadline);
            queue_bytes += one.head.size() + one.body.size();
            queue.push_back(std::move(one));
        } else if (one.done) {
            failed.emplace_back(
                std::move(one.done),
                Error{Errc::kGone,
                      "no link to " + options.address + " by the deadline: " + last_failure});
        }
    }
    if (next != SteadyTime::max()) {
        arm(next);
    }
    drain_failed();
}

void Channel::State::on_sweep() {
    if (connection != nullptr && connection->sweep(loop.pass_time(), in_flight() == 0)) {
        is_idled_out = true;
    }
}

void Channel::State::fail_all_queued(Errc code, const std::string& detail) {
    for (Queued& one : queue) {
        if (one.done) {
            failed.emplace_back(std::move(one.done), Error{code, detail});
        }
    }
    queue.clear();
    queue_bytes = 0;
}

void Channel::State::fail_later(Done&& done, Error why) {
    loop.role().assert_held();
    failed.emplace_back(std::move(done), std::move(why));
    loop.at_pass_end(*this);
}

void Channel::State::drain_failed() {
    while (!failed.empty()) {
        std::pair<Done, Error> one = std::move(failed.front());
        failed.pop_front();
        Result<Received> result(std::move(one.second));
        one.first(result);
    }
}

void Channel::State::on_pass_end() {
    drain_failed();
}

void Channel::State::abandon() {
    loop.role().assert_held();
    dialer.cancel();
    redial_timer.cancel();
    is_waiting = false;
    failures = 0;
    const bool was_up = connection != nullptr;
    if (was_up) {
        connection->abandon();
        drop_link(connection->written_bytes(), "given up");
    }
    fail_all_queued(Errc::kGone, "link to " + options.address + " given up");
    if (was_up && state_handler) {
        state_handler(false);
    }
    drain_failed();
}

void Channel::State::close() {
    loop.role().assert_held();
    if (!std::exchange(is_closed, true)) {
        dialer.cancel();
        deadline_timer.cancel();
        redial_timer.cancel();
        sweep_timer.cancel();
        if (connection != nullptr) {
            connection->abandon();
            loop.bury(std::exchange(connection, nullptr));
        }
        const std::string detail = "channel to " + options.address + " is closed";
        for (Pending& one : pending.take_all()) {
            failed.emplace_back(std::move(one.done), Error{Errc::kClosed, detail});
        }
        fail_all_queued(Errc::kClosed, detail);
    }
    drain_failed();
}

Channel::Channel(EventLoop& loop, Options options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

Channel::~Channel() {
    EventLoop& loop = state_->loop;
    loop.role().assert_held();
    state_->close();
    loop.forget(*state_);
    loop.bury(std::move(state_));
}

void Channel::on_request(OnRequest handler) {
    state_->request_handler = std::move(handler);
}

void Channel::on_state(OnState handler) {
    state_->state_handler = std::move(handler);
}

void Channel::call(Request request, std::chrono::milliseconds timeout, Done done) {
    state_->call(std::move(request), timeout, std::move(done));
}

Status Channel::send_oneway(Request request) {
    return state_->send_oneway(std::move(request));
}

void Channel::reply(const ReplyTo& to,
                    wire::ResponseCode code,
                    std::string_view remark,
                    const google::protobuf::Message* fields,
                    std::string_view body) {
    if (state_->is_up() && state_->connection->id() == to.connection) {
        state_->connection->reply(to, code, remark, fields, body);
    }
}

void Channel::connect() {
    state_->connect();
}

bool Channel::is_up() const noexcept {
    return state_->is_up();
}

const std::string& Channel::address() const noexcept {
    return state_->options.address;
}

std::uint32_t Channel::in_flight() const noexcept {
    return static_cast<std::uint32_t>(state_->in_flight());
}

wire::Host Channel::local_host() const {
    return state_->is_up() ? state_->connection->local_host() : wire::Host{};
}

void Channel::abandon() {
    state_->abandon();
}

void Channel::close() {
    state_->close();
}

}  // namespace gantry::net
