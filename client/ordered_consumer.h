// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/consumer.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "client/sharing.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// Among which messages of a queue there is an order.
enum class OrderBy : std::uint8_t {
    kQueue,  ///< all of them: one batch at a time
    kKey,    ///< those with the same key; several keys side by side
};

/// What becomes of a message that has failed attempts_max times.
enum class Poisoned : std::uint8_t {
    kBlock,       ///< it goes on failing; what comes after it in order waits
    kDeadLetter,  ///< it goes to %DLQ%group, and what comes after it goes on
    /// Its key is parked: the message and what comes later of its key are put aside, in order,
    /// until an operator releases or drops them; other keys go on. For OrderBy::kKey; a message
    /// without a key is a dead letter.
    kPark,
};

/// What an ordered listener says of the messages it was given.
struct OrderedResult {
    /// See the functions below.
    enum class Kind : std::uint8_t { kSuccess, kLater, kSuspend };
    Kind kind = Kind::kSuccess;
    std::chrono::milliseconds delay{0};  ///< of kSuspend

    static OrderedResult success() { return {}; }

    /// They failed: they come again to this listener, after the backoff; counts as an attempt.
    static OrderedResult later() { return {Kind::kLater, {}}; }

    /// Nothing is wrong with them, but not now: they come again after `delay`; not an attempt.
    static OrderedResult suspend(std::chrono::milliseconds delay) {
        return {Kind::kSuspend, delay};
    }
};

/// Receives messages in order: a member of a consumer group that consumes a queue only while it
/// has it locked at its broker, under a fencing token.
///
///   assigned --> locked --> read from the committed offset --> taken away, or stop()
///                  ^  |                                                |
///                  |  '-- lease not renewed in time: nothing more is given to the listener,
///                  |      what was handed out is forgotten             v
///                  '------------------------------ running calls end, commit, unlock
///
/// Order     kQueue: a queue's messages are given to the listener one batch after the other. kKey:
///           those of one key are; a message without a key is ordered with no other. What fails is
///           tried again here, and what comes after it in order waits for that.
/// Delivery  at least once. Everything below the committed offset is done. After a crash what is
///           above it comes again, in the same order.
/// Fencing   a member that is stalled past its lease (stopped, swapped out) changes nothing any
///           more: brokers refuse its commits, pulls and dead letters. What its listener does
///           while another member has the queue already it cannot take back: check
///           QueueId and time yourself where that matters, or keep calls shorter than `lease`.
/// Threads   the listener runs in `threads` pool threads. Other methods: any thread.
/// Errors    start: as PushConsumer. A queue another member has locked is asked for again, twice a
///           second at least. An exception of the listener counts as later().
/// Limits    a queue is not read on while messages from the first that is not done to the last one
///           read are held_messages_max; one that fails for ever holds up its queue at that.
/// Lifetime  stop() (or the destructor) returns when no listener call runs any more.
class OrderedConsumer {
public:
    /// Identity, order, threads and limits.
    struct Options {
        std::string group;
        Sharing sharing;  ///< all members of a group the same
        StartFrom start_from;
        OrderBy order_by = OrderBy::kQueue;
        std::string key_property = "__SHARDINGKEY";  ///< kKey: where a message has its key
        std::uint32_t threads = 1;
        std::uint32_t batch_messages_max = 1;          ///< of one key, given to one listener call
        std::chrono::milliseconds retry_delay{1'000};  ///< doubles with each attempt
        std::chrono::milliseconds retry_delay_max{30'000};
        Poisoned poisoned = Poisoned::kBlock;
        std::uint32_t attempts_max = 16;          ///< of this member; not for kBlock
        std::chrono::milliseconds lease{15'000};  ///< 1 s .. 60 s; renewed at a third of it
        std::uint32_t held_messages_max = 1'024;  ///< of a queue
        std::uint32_t pull_messages_max = 4'096;
        std::uint32_t pull_bytes_max = 1U << 20U;
        std::uint64_t queue_bytes_max = std::uint64_t{16} << 20U;  ///< fetched, not held, per queue
        std::chrono::milliseconds commit_interval{1'000};
        std::chrono::milliseconds poll_hold{15'000};  ///< long poll
        /// Called once for each piece of a queue that is lost, by a pool thread that has come to
        /// it; not in order with the listener's calls.
        OnLost on_lost;
        bool check_crc = true;  ///< of each body; what fails twice is told by on_lost
    };

    /// The messages are of one queue, and with kKey of one key.
    using Listener = std::function<OrderedResult(std::span<const MessageView>)>;

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<OrderedConsumer>> create(std::shared_ptr<Client> client,
                                                           const Options& options);
    ~OrderedConsumer();
    OrderedConsumer(const OrderedConsumer&) = delete;
    OrderedConsumer& operator=(const OrderedConsumer&) = delete;

    /// Before start. A topic may come into being later. `expression`: "*" or tags joined by "||".
    Status subscribe(std::string_view topic, std::string_view expression = "*");
    /// Before start. An SQL expression that the brokers do not take is found out by start().
    Status subscribe(std::string_view topic, const MessageSelector& selector);
    /// Joins the group and starts the threads. kConflict: started already, or the group has another
    /// member made from the same Client.
    Status start(Listener listener);
    /// Stops fetching, waits for running listeners, commits, unlocks its queues, leaves the group.
    /// Not from the listener.
    void stop();

    /// The listener gets nothing of the queue until resume(), also when it is assigned anew
    /// meanwhile; the queue stays locked. A call that runs ends by itself.
    void suspend(const QueueId& queue);
    void resume(const QueueId& queue);
    /// The same for all queues, beside what is suspended singly.
    void suspend();
    void resume();

    /// Queues this member has locked and reads now.
    std::vector<QueueId> assignment() const;

private:
    struct State;
    explicit OrderedConsumer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace gantry::client
