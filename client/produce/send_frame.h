// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "client/producer.h"
#include "common/clock.h"
#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::net {
class Channel;
}

namespace gantry::client {

/// Who chose the queue of a message.
enum class SendKind : std::uint8_t {
    kFree,    ///< the round robin: any other queue will do
    kKeyed,   ///< the hash of the order key
    kQueue,   ///< the caller
    kOneway,  ///< the round robin, and nobody waits for the answer
};

/// One accepted message and the call that ends it.
struct Outgoing {
    Message message;
    Producer::Done done;
    SteadyTime deadline;
    std::uint64_t key_hash = 0;      ///< kKeyed
    std::uint32_t record_bytes = 0;  ///< charged to the memory budget
    std::int32_t body_flags = 0;     ///< of sysFlag: whether and how the body is compressed
    SendKind kind = SendKind::kFree;
    bool is_traced = false;
};

struct Lane;
struct SendBroker;

/// Messages that travel together: one request, stored all or none.
struct Frame {
    std::unique_ptr<Frame> next;  ///< behind it in its lane
    std::vector<Outgoing> sends;
    Lane* lane = nullptr;
    SendBroker* broker = nullptr;  ///< it was sent to
    std::uint64_t sequence = 0;    ///< order of creation within the producer
    std::uint64_t bytes = 0;
    SteadyTime opened;      ///< when its first message was accepted
    SteadyTime deadline;    ///< of its first message
    SteadyTime not_before;  ///< back-off
    WallMs born_ms = 0;
    std::size_t flying_index = 0;
    std::int64_t master_epoch = 0;  ///< of `broker` when it was sent
    std::uint32_t attempts = 0;
    SendKind kind = SendKind::kFree;
    bool is_sealed = false;  ///< takes no more messages
    bool has_keys = false;
    bool has_tags = false;
    bool is_delayed = false;      ///< all its messages are, or none
    bool has_left = false;        ///< an attempt got as far as a socket
    bool is_unknown = false;      ///< an attempt's outcome is unknown
    bool is_numbered = false;     ///< of an idempotent producer: epoch and first are its number
    bool is_misdirected = false;  ///< the last attempt was for a broker that is no longer master
    bool is_early = false;        ///< the last attempt was refused: one before it is missing
    std::uint32_t epoch = 0;
    std::int64_t first = 0;

    /// What the senders of its messages are told of an error: never that they are not stored while
    /// an attempt may have stored them.
    Error told(const Error& error) const;
};

/// How an idempotent producer numbers what it sends to one queue.
///
///   a frame refused as early while none before it is open: the broker has lost some that it had
///   acknowledged. A new epoch begins, with what is left.
struct LaneNumbers {
    std::uint32_t epoch = 0;
    std::int64_t next = 0;    ///< of the next message
    bool is_stalled = false;  ///< nothing leaves until everything in flight is answered
    bool is_over = false;     ///< the broker does not know this epoch, or not any more
    bool has_ghost = false;   ///< a frame was given up that may be stored
};

using FramePtr = std::unique_ptr<Frame>;

/// What a producer knows about one broker: its link and whether it answered lately.
///
/// After a failure the broker is avoided for a time that doubles with each further one; then a
/// single frame probes it, and only its success brings the rest back.
struct SendBroker {
    std::string name;
    std::string address;
    std::string id_prefix;  ///< first characters of its message ids: the store host
    bool store_v6 = false;  ///< of that host
    net::Channel* channel = nullptr;
    std::vector<Lane*> held;      ///< lanes whose partial frame waits for an answer of this broker
    std::uint32_t in_flight = 0;  ///< frames, over all its lanes
    std::int64_t epoch = 0;       ///< of its master
    bool is_headless = false;     ///< no master now: what is meant for it waits
    bool has_moved = false;       ///< there is one again, and lanes are to be told
    SteadyTime avoid_until;
    std::uint32_t failures = 0;
    bool is_probing = false;

    bool is_available(SteadyTime now) const noexcept {
        return !is_headless && (failures == 0 || (!is_probing && now >= avoid_until));
    }

    /// Takes the address of its master, and the store host from that.
    void set_address(const std::string& master);
    /// The broker has answered.
    void succeeded() noexcept;
    /// The broker did not answer, or takes no messages now.
    void failed(SteadyTime now) noexcept;
};

/// Frames that wait, oldest first. A producer with many queues has one for each, mostly empty:
/// the frames are chained, so an empty one owns nothing.
class FrameQueue {
public:
    FrameQueue() = default;

    FrameQueue(FrameQueue&& other) noexcept { *this = std::move(other); }

    FrameQueue& operator=(FrameQueue&& other) noexcept;
    ~FrameQueue();

    bool empty() const noexcept { return first_ == nullptr; }

    std::size_t size() const noexcept { return size_; }

    /// Of a queue that is not empty.
    Frame& front() noexcept { return *first_; }

    Frame& back() noexcept { return *last_; }

    /// Puts a frame behind all others.
    void push_back(FramePtr frame) noexcept;
    /// Puts a frame before those of a greater sequence.
    void put_in_order(FramePtr frame) noexcept;
    /// Takes the oldest frame out; there is one.
    FramePtr pop_front() noexcept;

private:
    FramePtr first_;
    Frame* last_ = nullptr;
    std::uint32_t size_ = 0;
};

/// The frames on their way to one queue. All of it is in one cache line: with very many queues,
/// what a send costs is the lines it touches.
struct alignas(64) Lane {
    SendBroker* broker = nullptr;
    const std::string* topic = nullptr;
    std::int32_t queue = 0;
    std::uint32_t in_flight = 0;  ///< frames
    FrameQueue waiting;
    bool is_routed = false;                ///< in the topic's present route
    bool is_held = false;                  ///< in its broker's list of held lanes
    bool is_busy = false;                  ///< in the sender's list of lanes with frames waiting
    std::unique_ptr<LaneNumbers> numbers;  ///< of an idempotent producer, from the first frame on

    /// The frame that new messages of `kind` join; null when there is none.
    Frame* gathering(SendKind kind) noexcept {
        if (waiting.empty() || waiting.back().is_sealed || waiting.back().kind != kind) {
            return nullptr;
        }
        return &waiting.back();
    }
};

static_assert(sizeof(Lane) == 64);

/// Frames for reuse: their vectors keep their memory.
class FramePool {
public:
    /// An empty frame with the next sequence number.
    FramePtr take();
    /// Takes a frame back, whatever is in it.
    void give(FramePtr frame);

private:
    std::vector<FramePtr> free_;
    std::uint64_t next_sequence_ = 0;
};

}  // namespace gantry::client
