// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/connection.h"

#include "common/log.h"
#include "protocol/net/buffer_pool.h"
#include "protocol/net/connection/events.h"
#include "protocol/net/socket.h"
#include "protocol/wire/status.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sys/socket.h>
#include <utility>

namespace gantry::net {

namespace {

constexpr Logger kLog("net");
constexpr int kReadsPerPassMax = 4;
// With many requests in one read the peer goes on with the first answers while the rest is handled:
// else two programs that have a window between them work by turns.
constexpr std::uint32_t kFramesPerWrite = 32;
constexpr std::chrono::seconds kFlushMax{10};
constexpr std::chrono::seconds kLingerMax{2};
constexpr std::chrono::seconds kShrinkAfter{1};
constexpr std::size_t kWorthShrinkingBytes = std::size_t{16} << 10U;

}  // namespace

std::shared_ptr<const void> Received::pin() const {
    const std::shared_ptr<ReceiveBuffer>& buffer = connection.input_;
    buffer->pins.fetch_add(1, std::memory_order_relaxed);
    return {static_cast<const void*>(buffer->bytes.get()), [buffer](const void* /*bytes*/) {
                buffer->pins.fetch_sub(1, std::memory_order_release);
            }};
}

ReplyTo reply_to(const Received& frame) {
    return {.connection = frame.connection.id(),
            .opaque = frame.header.opaque,
            .codec = frame.header.codec,
            .is_oneway = frame.header.is_oneway};
}

Connection::Connection(EventLoop& loop,
                       UniqueFd socket,
                       ConnectionId id,
                       const ConnectionLimits& limits,
                       ConnectionHandler& handler)
    : loop_(loop),
      socket_(std::move(socket)),
      id_(id),
      limits_(limits),
      handler_(handler),
      events_(std::make_unique<Events>()),
      output_(&loop.buffers()) {
    loop_.role().assert_held();
    const SocketAddress peer = peer_address(socket_.get());
    peer_ = host_of(peer);
    peer_text_ = to_string(peer);
    last_active_ = loop_.pass_time();
    last_read_ = last_active_;
    const int fd = socket_.get();
    event_assign(
        &events_->readable, loop_.base(), fd, EV_READ | EV_PERSIST, &Events::on_readable, this);
    event_assign(
        &events_->writable, loop_.base(), fd, EV_WRITE | EV_PERSIST, &Events::on_writable, this);
    event_add(&events_->readable, nullptr);
}

Connection::~Connection() {
    loop_.role().assert_held();
    loop_.forget(*this);
    if (limits_.memory != nullptr) {
        limits_.memory->add(-accounted_bytes_);
    }
    if (phase_ != Phase::kClosed) {
        event_del(&events_->readable);
        event_del(&events_->writable);
    }
}

wire::Host Connection::local_host() const {
    return host_of(local_address(socket_.get()));
}

OutputQueue& Connection::output() {
    loop_.role().assert_held();
    loop_.at_pass_end(*this);
    return output_;
}

void Connection::reply(const ReplyTo& to,
                       wire::ResponseCode code,
                       std::string_view remark,
                       const google::protobuf::Message* fields,
                       std::string_view body) {
    if (to.is_oneway) {
        return;
    }
    begin_reply(to, code, remark, fields, body.size());
    output_.append_copy(as_bytes(body));
}

void Connection::begin_reply(const ReplyTo& to,
                             wire::ResponseCode code,
                             std::string_view remark,
                             const google::protobuf::Message* fields,
                             std::size_t body_bytes) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.opaque = to.opaque;
    header.is_response = true;
    header.remark = remark;
    header.fields = fields;
    wire::append_frame_head(output().tail(), to.codec, header, body_bytes);
}

void Connection::send_oneway(wire::Codec codec,
                             wire::RequestCode code,
                             const google::protobuf::Message* fields,
                             std::string_view body) {
    begin_oneway(codec, code, fields, body.size());
    output_.append_copy(as_bytes(body));
}

void Connection::begin_oneway(wire::Codec codec,
                              wire::RequestCode code,
                              const google::protobuf::Message* fields,
                              std::size_t body_bytes) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.is_oneway = true;
    header.fields = fields;
    wire::append_frame_head(output().tail(), codec, header, body_bytes);
}

void Connection::send_request(std::int32_t opaque,
                              wire::RequestCode code,
                              const google::protobuf::Message* fields) {
    wire::HeaderToSend header;
    header.code = static_cast<std::int32_t>(code);
    header.opaque = opaque;
    header.fields = fields;
    wire::append_frame_head(output().tail(), wire::Codec::kNative, header, 0);
}

void Connection::close(const Error& why, bool flush) {
    loop_.role().assert_held();
    if (phase_ == Phase::kClosed) {
        return;
    }
    must_drop_output_ = must_drop_output_ || !flush;
    loop_.at_pass_end(*this);
    if (phase_ == Phase::kOpen) {
        phase_ = Phase::kFlushing;
        close_reason_ = why;
        last_active_ = loop_.pass_time();
        event_del(&events_->readable);
    }
}

void Connection::abandon() {
    loop_.role().assert_held();
    if (phase_ == Phase::kClosed) {
        return;
    }
    if (!must_drop_output_ && !output_.empty()) {
        // What the socket does not take at once is lost, and so is the reason.
        [[maybe_unused]] const Result<bool> written = output_.write_to(socket_.get());
    }
    phase_ = Phase::kClosed;
    event_del(&events_->readable);
    event_del(&events_->writable);
    loop_.forget(*this);
    output_.clear();
    socket_.reset();
}

void Connection::on_pass_end() {
    flush_in_loop(false);
}

void Connection::read_ready_in_loop() {
    loop_.note_event();
    if (phase_ == Phase::kLingering) {
        discard_input_in_loop();
        return;
    }
    for (int reads = 0; reads < kReadsPerPassMax; ++reads) {
        if (phase_ != Phase::kOpen || !may_read() || !receive_in_loop()) {
            break;
        }
    }
    release_input_in_loop();
    account_in_loop();
}

bool Connection::receive_in_loop() {
    if (!make_room_in_loop()) {
        starve_in_loop();
        return false;
    }
    ReceiveBuffer& buffer = *input_;
    const std::size_t room = buffer.room();
    ssize_t got = 0;
    do {
        got = ::recv(socket_.get(), buffer.bytes.get() + buffer.end, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            Error error = io_error("receive from " + peer_text_, errno);
            error.code = Errc::kGone;
            close(error, false);
        }
        return false;
    }
    if (got == 0) {
        close({Errc::kGone, peer_text_ + " has closed the connection"});
        return false;
    }
    buffer.end += static_cast<std::size_t>(got);
    read_bytes_ += static_cast<std::uint64_t>(got);
    last_read_ = loop_.pass_time();
    last_active_ = last_read_;
    handle_frames_in_loop();
    // A short read has emptied the socket: asking again would only be told so.
    return static_cast<std::size_t>(got) == room;
}

void Connection::account_in_loop() {
    if (limits_.memory == nullptr) {
        return;
    }
    const std::size_t input = input_ == nullptr ? 0 : input_->capacity;
    const auto held = static_cast<std::int64_t>(output_.owned_bytes() + input);
    if (held != accounted_bytes_) {
        limits_.memory->add(held - std::exchange(accounted_bytes_, held));
    }
}

/// False: it takes memory, and there is none.
bool Connection::make_room_in_loop() {
    BufferPool& pool = loop_.buffers();
    if (input_ == nullptr) {
        input_ = pool.take(limits_.receive_bytes);
        return true;
    }
    ReceiveBuffer& old = *input_;
    const std::size_t held = old.held();
    const bool is_pinned = old.is_pinned();
    if (held == 0 && !is_pinned) {
        old.begin = 0;
        old.end = 0;
        return true;
    }
    const std::byte* const from = old.bytes.get() + old.begin;
    const std::size_t needed = std::max(held + 1, wire::frame_bytes_needed(Bytes(from, held)));
    if (!is_pinned && needed <= old.capacity) {
        if (old.capacity - old.begin < needed || old.room() < old.capacity / 2) {
            std::memmove(old.bytes.get(), from, held);
            old.begin = 0;
            old.end = held;
        }
        return true;
    }
    if (needed > limits_.receive_bytes && !has_memory_in_loop()) {
        return false;
    }
    std::shared_ptr<ReceiveBuffer> fresh =
        pool.take(std::max<std::size_t>(needed, limits_.receive_bytes));
    if (held > 0) {
        std::memcpy(fresh->bytes.get(), from, held);
    }
    fresh->end = held;
    pool.give(std::exchange(input_, std::move(fresh)));
    return true;
}

void Connection::discard_input_in_loop() {
    const std::shared_ptr<ReceiveBuffer> scrap = loop_.buffers().take(limits_.receive_bytes);
    const ssize_t got = ::recv(socket_.get(), scrap->bytes.get(), scrap->capacity, MSG_DONTWAIT);
    const bool is_over = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    loop_.buffers().give(scrap);
    if (is_over) {
        finish_close_in_loop();
    }
}

void Connection::handle_frames_in_loop() {
    while (phase_ == Phase::kOpen && !is_held_) {
        if (output_.bytes() > limits_.output_bytes_max) {
            balance_reading_in_loop();
            return;
        }
        ReceiveBuffer& buffer = *input_;
        const Bytes waiting(buffer.bytes.get() + buffer.begin, buffer.held());
        const Result<std::optional<wire::FrameView>> found =
            wire::find_frame(waiting, limits_.frame);
        if (!found) {
            reject_in_loop(found.error(), false);
            return;
        }
        if (!found->has_value()) {
            return;
        }
        const wire::FrameView& frame = **found;
        buffer.begin += frame.frame_bytes;
        if (const Status decoded = wire::decode_header(frame, header_); !decoded) {
            header_.codec = frame.codec;
            reject_in_loop(decoded.error(),
                           header_.has_opaque && !header_.is_response && !header_.is_oneway);
            return;
        }
        handler_.on_frame(Received{header_, frame.body, *this});
        if (++frames_unwritten_ >= kFramesPerWrite) {
            write_early_in_loop();
        }
    }
}

void Connection::write_early_in_loop() {
    frames_unwritten_ = 0;
    if (phase_ == Phase::kOpen && !is_write_watched_ && !output_.empty()) {
        // Where it fails, the write at the end of the pass fails too, and deals with it.
        [[maybe_unused]] const Result<bool> written = output_.write_to(socket_.get());
    }
}

void Connection::reject_in_loop(const Error& why, bool is_addressed) {
    kLog.warn("malformed_frame", {{"peer", peer_text_}, {"reason", why.detail}});
    if (is_addressed) {
        const ReplyTo to{.connection = id_, .opaque = header_.opaque, .codec = header_.codec};
        reply(to, wire::response_code(Errc::kCorrupt, header_.codec), why.detail);
        must_linger_ = true;
    }
    close({Errc::kCorrupt, "malformed frame: " + why.detail});
}

void Connection::release_input_in_loop() {
    if (input_ != nullptr && input_->held() == 0) {
        loop_.buffers().give(std::exchange(input_, nullptr));
    }
}

void Connection::write_ready_in_loop() {
    loop_.note_event();
    flush_in_loop(true);
}

void Connection::watch_writable(bool wanted) {
    if (wanted != is_write_watched_) {
        is_write_watched_ = wanted;
        if (wanted) {
            event_add(&events_->writable, nullptr);
        } else {
            event_del(&events_->writable);
        }
    }
}

void Connection::flush_in_loop(bool is_writable) {
    if (phase_ == Phase::kClosed || phase_ == Phase::kLingering) {
        if (must_drop_output_ && phase_ == Phase::kLingering) {
            finish_close_in_loop();
        }
        return;
    }
    // While the socket is known to be full, only its event is worth a system call.
    if (!must_drop_output_ && (is_writable || !is_write_watched_)) {
        const std::uint64_t before = output_.written();
        const Result<bool> written = output_.write_to(socket_.get());
        if (!written) {
            close(written.error(), false);
        } else {
            watch_writable(!*written);
        }
        if (output_.written() != before) {
            last_active_ = loop_.pass_time();
        }
    }
    account_in_loop();
    if (phase_ == Phase::kOpen) {
        balance_reading_in_loop();
    } else if (must_drop_output_ || output_.empty()) {
        finish_flush_in_loop();
    }
}

void Connection::finish_flush_in_loop() {
    if (must_drop_output_ || !must_linger_) {
        finish_close_in_loop();
        return;
    }
    // Closing now, with bytes of the peer unread, would reset the connection and lose the reply.
    phase_ = Phase::kLingering;
    last_active_ = loop_.pass_time();
    ::shutdown(socket_.get(), SHUT_WR);
    event_add(&events_->readable, nullptr);
}

void Connection::finish_close_in_loop() {
    phase_ = Phase::kClosed;
    event_del(&events_->readable);
    event_del(&events_->writable);
    loop_.role().assert_held();
    loop_.forget(*this);
    output_.clear();
    socket_.reset();
    const Error why = close_reason_;
    handler_.on_close(*this, why);
}

bool Connection::sweep(SteadyTime now, bool may_idle_out) {
    const std::chrono::nanoseconds quiet = now - last_active_;
    const bool is_idle = phase_ == Phase::kOpen && may_idle_out && limits_.idle_max.count() > 0 &&
                         quiet >= limits_.idle_max;
    if (is_idle) {
        close({Errc::kGone,
               peer_text_ + " idle longer than idle_max " +
                   std::to_string(limits_.idle_max.count()) + " ms"});
    } else if ((phase_ == Phase::kFlushing && quiet >= kFlushMax) ||
               (phase_ == Phase::kLingering && quiet >= kLingerMax)) {
        close(close_reason_, false);
    }
    if (input_ != nullptr && now - last_read_ >= kShrinkAfter) {
        shrink_input_in_loop();
        account_in_loop();
    }
    if (is_starved_) {
        feed_in_loop(now);
    }
    return is_idle;
}

void Connection::shrink_input_in_loop() {
    const std::size_t held = input_->held();
    if (held * 2 < input_->capacity && input_->capacity > kWorthShrinkingBytes) {
        auto small = std::make_shared<ReceiveBuffer>(std::max<std::size_t>(held, 1));
        std::memcpy(small->bytes.get(), input_->bytes.get() + input_->begin, held);
        small->end = held;
        loop_.buffers().give(std::exchange(input_, std::move(small)));
    }
}

}  // namespace gantry::net
