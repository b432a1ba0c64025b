// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "protocol/net/event_loop.h"
#include "protocol/net/memory_meter.h"
#include "protocol/net/output_queue.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/header.h"
#include "protocol/wire/record.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace gantry::net {

/// Names a connection for other threads and for later: a value that goes stale, never dangles.
using ConnectionId = StrongInt<struct ConnectionIdTag, std::uint64_t>;

class Connection;

/// One frame as it came in.
///
/// Lifetime  header and body last for the call; to keep the body without a copy, keep pin(), which
///           holds the whole receive buffer (up to a few hundred KiB).
struct Received {
    const wire::Header& header;
    Bytes body;
    Connection& connection;

    std::shared_ptr<const void> pin() const;
};

/// What an owner of connections does with them. Called in the connection's loop thread, one call
/// at a time per connection. Must not block.
class ConnectionHandler {
public:
    ConnectionHandler() = default;
    ConnectionHandler(const ConnectionHandler&) = delete;
    ConnectionHandler& operator=(const ConnectionHandler&) = delete;
    virtual ~ConnectionHandler() = default;
    /// Once, first. Output may be appended already.
    virtual void on_open(Connection& connection) = 0;
    /// One whole frame, request or answer; it lasts for the call. May close the connection.
    virtual void on_frame(const Received& frame) = 0;
    /// Exactly once, last. The connection dies after the call.
    virtual void on_close(Connection& connection, const Error& why) = 0;
};

/// What one connection may use.
struct ConnectionLimits {
    wire::FrameLimits frame;
    std::uint32_t receive_bytes = 256U << 10U;                  ///< asked of one recv call
    std::uint64_t output_bytes_max = std::uint64_t{64} << 20U;  ///< above: reading stops
    std::chrono::milliseconds idle_max{120'000};  ///< no read and no write: closed; 0: never
    /// Counts what the connection holds; outlives it. While it is full, what needs a buffer larger
    /// than receive_bytes is not read; a connection that waits so for 10 s is closed.
    MemoryMeter* memory = nullptr;
};

/// To whom a reply goes, kept after the request's bytes are gone.
struct ReplyTo {
    ConnectionId connection;
    std::int32_t opaque = 0;
    wire::Codec codec = wire::Codec::kJson;
    bool is_oneway = false;  ///< replies are dropped
};

/// One established socket, accepted or dialled. Drains the socket in reads of `receive_bytes`,
/// hands out every whole frame found, and writes what they produced every 32 frames and at last.
///
///   kOpen -- close(flush) --> kFlushing -- all written --> kClosed      on_close
///                                 `-- after a malformed frame --> kLingering --> kClosed
///
/// kLingering has sent its end of stream and drops what still comes for a few seconds, so that the
/// system does not throw the last reply away.
///
/// Threads   the loop's thread only: born, used and destroyed there.
/// Errors    a malformed frame is answered with kMalformed where an opaque is known, logged, and
///           closes this connection; a peer that does not read stops being read from at
///           output_bytes_max until half of it is gone, so it slows only itself.
/// Lifetime  on_close comes from the top of the loop, never from inside a call; the owner may
///           destroy the connection in it.
/// Limits    a few reads a pass, so that one fast peer does not starve the others. Holds a receive
///           buffer only while bytes are in it.
class Connection final : public PassEnd {
public:
    Connection(EventLoop& loop,
               UniqueFd socket,
               ConnectionId id,
               const ConnectionLimits& limits,
               ConnectionHandler& handler);
    ~Connection() override;

    ConnectionId id() const noexcept { return id_; }

    EventLoop& loop() noexcept { return loop_; }

    /// The peer's address as text, "127.0.0.1:51020", and in record form.
    const std::string& peer() const noexcept { return peer_text_; }

    const wire::Host& peer_host() const noexcept { return peer_; }

    /// This end's address.
    wire::Host local_host() const;

    /// Where to append bytes that go out at the end of this pass, in order.
    OutputQueue& output();

    /// Bytes that wait to be written.
    std::uint64_t output_bytes() const noexcept { return output_.bytes(); }

    /// Encodes a reply with a small or empty body. Dropped for one-way requests.
    void reply(const ReplyTo& to,
               wire::ResponseCode code,
               std::string_view remark,
               const google::protobuf::Message* fields = nullptr,
               std::string_view body = {});
    /// Encodes prefix and header of a reply whose `body_bytes` the caller then appends to output().
    void begin_reply(const ReplyTo& to,
                     wire::ResponseCode code,
                     std::string_view remark,
                     const google::protobuf::Message* fields,
                     std::size_t body_bytes);
    /// Sends a one-way request (a callback to the client).
    void send_oneway(wire::Codec codec,
                     wire::RequestCode code,
                     const google::protobuf::Message* fields,
                     std::string_view body = {});
    /// Encodes prefix and header of a one-way request whose `body_bytes` the caller then appends to
    /// output().
    void begin_oneway(wire::Codec codec,
                      wire::RequestCode code,
                      const google::protobuf::Message* fields,
                      std::size_t body_bytes);
    /// Encodes a request without a body; the answer has the same opaque.
    void send_request(std::int32_t opaque,
                      wire::RequestCode code,
                      const google::protobuf::Message* fields);

    /// Writes what is queued and closes when it is gone, or at once when `flush` is false. on_close
    /// follows at the end of the pass or later; no frame is handed out any more.
    void close(const Error& why, bool flush = true);
    /// Gives the socket up now, after one try to write what is queued; on_close does not come. For
    /// an owner that lets go; it keeps the object until the pass is over (EventLoop::bury).
    void abandon();

    bool is_open() const noexcept { return phase_ == Phase::kOpen; }

    /// Bytes handed to the kernel so far, and at which of them the next byte appended goes out.
    std::uint64_t written_bytes() const noexcept { return output_.written(); }

    std::uint64_t stream_position() const noexcept { return output_.written() + output_.bytes(); }

    /// Bytes that have come so far.
    std::uint64_t read_bytes() const noexcept { return read_bytes_; }

    /// Reads nothing more while `held`, so that the peer is slowed by its full socket; what is read
    /// already is handed out afterwards. May be held in on_frame, not released there.
    void hold_reading(bool held);

    /// What is accepted from now on; for peers that are known by now.
    void set_frame_limits(const wire::FrameLimits& limits) { limits_.frame = limits; }

    /// The connection ends when data stays unacknowledged by the peer's system for that long.
    void set_user_timeout(std::chrono::milliseconds limit) noexcept;

    /// To be called about once a second by the owner: closes an idle connection (true), ends a
    /// flush or linger that takes too long, gives back memory.
    bool sweep(SteadyTime now, bool may_idle_out = true);

    /// State the handler keeps with the connection; destroyed with it.
    void set_context(std::shared_ptr<void> context) { context_ = std::move(context); }

    template <class T>
    T* context() const noexcept {
        return static_cast<T*>(context_.get());
    }

    void on_pass_end() override;

private:
    friend struct Received;
    struct Events;
    enum class Phase : std::uint8_t { kOpen, kFlushing, kLingering, kClosed };

    void read_ready_in_loop();
    void write_ready_in_loop();
    bool make_room_in_loop();
    bool may_read() const noexcept;
    void resume_reading_in_loop();
    bool has_memory_in_loop() const;
    void starve_in_loop();
    void feed_in_loop(SteadyTime now);
    void account_in_loop();
    bool receive_in_loop();
    void discard_input_in_loop();
    void handle_frames_in_loop();
    void write_early_in_loop();
    void reject_in_loop(const Error& why, bool is_addressed);
    void release_input_in_loop();
    void shrink_input_in_loop();
    void flush_in_loop(bool is_writable);
    void balance_reading_in_loop();
    void finish_flush_in_loop();
    void finish_close_in_loop();
    void watch_writable(bool wanted);

    EventLoop& loop_;
    UniqueFd socket_;
    ConnectionId id_;
    ConnectionLimits limits_;
    ConnectionHandler& handler_;
    wire::Host peer_;
    std::string peer_text_;
    std::unique_ptr<Events> events_;
    std::shared_ptr<struct ReceiveBuffer> input_;
    OutputQueue output_;
    wire::Header header_;
    std::shared_ptr<void> context_;
    Error close_reason_;
    SteadyTime last_read_{};
    SteadyTime last_active_{};
    SteadyTime starved_since_{};
    std::uint64_t read_bytes_ = 0;
    std::int64_t accounted_bytes_ = 0;    ///< as limits_.memory has them
    std::uint32_t frames_unwritten_ = 0;  ///< handled since output was written
    Phase phase_ = Phase::kOpen;
    bool is_write_watched_ = false;
    bool is_reading_paused_ = false;
    bool is_held_ = false;     ///< by its owner
    bool is_starved_ = false;  ///< not read from for want of memory
    bool must_drop_output_ = false;
    bool must_linger_ = false;
};

/// The addressee of a reply to `frame`.
ReplyTo reply_to(const Received& frame);

}  // namespace gantry::net
