// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/compression.h"
#include "client/message.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace gantry::client {

/// Sends messages to the brokers that the nameserver names for their topics.
///
///   error       stored?   what to do
///   kRefused    no        fix the message (too large, illegal name; see detail)
///   kNotFound   no        create the topic
///   kDenied     no        the topic takes no writes
///   kBusy       no        in_flight_max or memory limit reached: retry after a reply arrived. Or
///                         the broker's limit of rates leaves no room before the deadline
///   kDiskFull   no        retries elsewhere are exhausted; later
///   kReadOnly   no        as kDiskFull
///   kGone       no        no broker reachable by the deadline
///   kTimeout    unknown   it left, no reply came; a retry may store it twice
///   kUnknown    unknown   the connection was lost after it left
///   kClosed     no        close() was called
///
/// Once      an idempotent producer's messages are stored once, however often they are repeated:
///           frames to a queue are numbered, and the broker answers one it has stored as it did the
///           first time, across its restarts too. So it repeats whatever failed or is unknown, on
///           the message's own queue, until the deadline; kTimeout and kUnknown are told only when
///           the deadline came first. What such a message then is, stored once or not at all, no
///           later message of the queue depends on.
/// Order     messages that go to the same queue are stored in the order of the calls; a lost
///           connection does not change that, only what is repeated after an unknown outcome may be
///           stored twice. But with max_batches_in_flight above 1 and retries, a batch the broker
///           refused for the moment may be overtaken by those already in flight behind it; never
///           with an idempotent producer.
///           Messages with a key or a given queue are repeated on their own queue, others
///           preferably on another broker.
/// Limits    a broker that takes no more for the moment says how long: the producer waits and sends
///           again until the deadline, which costs no retry; as for the order, see there.
/// Batches   with batch_bytes_max > 0, messages to one queue that are waiting anyway leave in one
///           frame: a lone message is sent at once, later ones gather while max_batches_in_flight
///           frames to the same broker are unanswered, or for `linger` (in whole milliseconds).
///           A full frame waits for others of its own queue only. Stored all or none per frame.
/// Threads   every method: any thread. `done` runs in a loop thread: do not block in it; sending
///           from it is fine and takes no hand-off.
/// Lifetime  every accepted send_async calls `done` exactly once, at the latest inside close().
class Producer {
public:
    /// Deadlines, limits and batches.
    struct Options {
        std::string group = "gantry-producer";       ///< for lists and metrics
        std::chrono::milliseconds deadline{3'000};   ///< per send, retries included
        std::uint32_t retries_max = 2;               ///< only after errors that mean "not stored"
        bool retry_unknown = false;                  ///< also after unknown outcomes: at least once
        bool idempotent = false;                     ///< see Once; not for send_oneway
        std::uint32_t in_flight_max = 16'384;        ///< messages
        std::uint32_t batch_bytes_max = 32U << 10U;  ///< 0: every message its own frame
        std::uint32_t max_batches_in_flight = 4;     ///< per queue
        std::chrono::microseconds linger{0};
        std::uint32_t message_bytes_max = 4U << 20U;  ///< of a body as given
        Compression compression;
        /// Share of the messages whose fate is written to RMQ_SYS_TRACE_TOPIC, 0 to 1, chosen by
        /// UNIQ_KEY; consumers that trace the same share trace the same messages.
        double trace_sample = 0;
        bool own_connection = false;  ///< connections of its own, not the client's shared ones
    };

    /// Picks a queue out of the topic's writable ones, by index. Runs in a loop thread. A message
    /// it has placed is not moved to another queue by a retry. An index out of range: kRefused.
    using Selector = UniqueFunction<std::size_t(std::span<const QueueId>, const Message&)>;
    using Done = UniqueFunction<void(Result<SendReceipt>)>;

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<Producer>> create(std::shared_ptr<Client> client,
                                                    const Options& options);
    ~Producer();
    Producer(const Producer&) = delete;
    Producer& operator=(const Producer&) = delete;

    /// Sends and waits for the answer.
    Result<SendReceipt> send(Message message);
    /// To a given queue: order is kept per queue.
    Result<SendReceipt> send_to(Message message, const QueueId& queue);

    /// Returns at once. On an error `done` is not called.
    Status send_async(Message message, Done done);
    /// With `order_key`, messages of one key go to one queue, in order.
    Status send_async(Message message, std::string_view order_key, Done done);
    Status send_async_to(Message message, const QueueId& queue, Done done);

    /// No answer, no retry: stored or not.
    Status send_oneway(Message message);

    /// Sends a message that asks whoever consumes it for a reply (`reply`), and waits for that. The
    /// outcome kTimeout: no reply came by then, whatever became of the request; else as of a send.
    Result<MessageView> request(Message message, std::chrono::milliseconds timeout);

    using OnReply = UniqueFunction<void(Result<MessageView>)>;
    /// The same without waiting: `done` is called exactly once, in a loop thread, at the latest
    /// inside close(), with the first reply, kTimeout, or why the request is not stored.
    /// kRefused: a timeout outside 1 ms to 1 day. kBusy: in_flight_max of them are under way.
    Status request_async(Message message, std::chrono::milliseconds timeout, OnReply done);

    using ReplyDone = UniqueFunction<void(Status)>;
    /// Replies to a request that a consumer was given; the topic of `message` does not count. Tries
    /// again until the deadline while its broker, or who asked, cannot be reached.
    /// kRefused: `request` is no request. kNotFound: who asked is not connected to its broker.
    Status reply(const MessageView& request, Message message);
    Status reply_async(const MessageView& request, Message message, ReplyDone done);

    /// Replaces the round robin of send and send_async without a key.
    void set_selector(Selector selector);

    /// The topic's writable queues as routed now. kNotFound: no such topic.
    Result<std::vector<QueueId>> queues(std::string_view topic);

    /// Sends what is gathering and waits until nothing is in flight, at most `limit`.
    Status flush(std::chrono::milliseconds limit);
    /// As flush, then fails the rest with kTimeout. Idempotent.
    Status close(std::chrono::milliseconds drain_limit);

private:
    struct State;
    Result<SendReceipt> send_and_wait(Message message, const QueueId* queue);
    explicit Producer(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace gantry::client
