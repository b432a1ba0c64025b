// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/consumer.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "common/result.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::client {

/// A message that this consumer has for itself for a time. reconsume_times() says how often the
/// group got it before.
class PoppedMessage : public MessageView {
public:
    PoppedMessage() = default;

    /// For the library: a message, and the receipt for it.
    PoppedMessage(MessageView message, WallMs pop_ms)
        : MessageView(std::move(message)), pop_ms_(pop_ms) {}

    /// When its broker handed it out, by the broker's clock.
    WallMs pop_ms() const noexcept { return pop_ms_; }

private:
    WallMs pop_ms_ = 0;
};

/// Receives messages of queues that all consumers of a group share, message by message: there may
/// be more consumers than queues, and none holds up another.
///
///   broker --pop--> kept from others --ack------> done
///                      |    `------- give_back -> others get it, at once or after a delay
///                      `- neither in time ------> others get it; too often: %DLQ%group
///
/// Delivery  at least once, without order. A message has one owner within its invisible time, which
///           is renewed while the consumer lives (Options::renew). What was handed out and not
///           acknowledged when a consumer dies comes again after that time.
/// Threads   poll, ack, give_back, renew: any. A listener runs in `threads` threads of its own.
/// Errors    poll returns what arrived, possibly nothing. A message whose body fails its check is
///           left to come again. An acknowledgement that does not reach the broker within the
///           invisible time is given up: the message comes again.
/// Limits    holds up to buffer_messages_max fetched messages, and one answer a broker and topic.
/// Lifetime  close() (or the destructor) returns when no listener call runs any more.
class PopConsumer {
public:
    /// Identity, times, threads and limits.
    struct Options {
        std::string group;
        /// Where a group begins that never consumed the topic: kLast or kFirst.
        StartFrom::Kind start_from = StartFrom::Kind::kLast;
        std::chrono::milliseconds invisible{60'000};
        bool renew = true;  ///< what is neither acknowledged nor given back, up to hold_max
        std::chrono::milliseconds hold_max{3'600'000};
        std::uint32_t pop_messages_max = 32;  ///< of one pop, so of one queue
        std::uint32_t pop_bytes_max = 1U << 20U;
        std::uint32_t buffer_messages_max = 64;         ///< fetched, not polled: no further pop
        std::chrono::milliseconds poll_hold{15'000};    ///< long poll
        std::uint32_t threads = 1;                      ///< of a listener
        std::uint32_t batch_messages_max = 1;           ///< given to one listener call
        std::chrono::milliseconds retry_delay{10'000};  ///< of what a listener answers kLater to
        bool check_crc = true;
    };

    using Listener = std::function<ConsumeResult(std::span<const PoppedMessage>)>;

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<PopConsumer>> create(std::shared_ptr<Client> client,
                                                       const Options& options);
    ~PopConsumer();
    PopConsumer(const PopConsumer&) = delete;
    PopConsumer& operator=(const PopConsumer&) = delete;

    /// Begins to pop the topic, which may come into being later. kRefused: an expression that does
    /// not parse. kUnsupported: the brokers do not filter by SQL. Errors of the nameservers.
    Status subscribe(std::string_view topic, const MessageSelector& selector = {});

    /// Messages that have arrived, waiting up to `wait` for the first.
    std::vector<PoppedMessage> poll(std::chrono::milliseconds wait, std::size_t count_max = 32);

    /// These are done. Returns at once; what is acknowledged together travels together.
    void ack(std::span<const PoppedMessage> messages);

    void ack(const PoppedMessage& message) { ack({&message, 1}); }

    /// Others get these after `delay`, this consumer among them.
    void give_back(std::span<const PoppedMessage> messages, std::chrono::milliseconds delay);
    /// Keeps these from others for `invisible` from now on. For who sets Options::renew to false.
    void renew(std::span<const PoppedMessage> messages, std::chrono::milliseconds invisible);
    /// Waits until the brokers know of everything acknowledged, given back and renewed so far.
    /// kTimeout.
    Status flush(std::chrono::milliseconds limit);

    /// Calls `listener` for what arrives instead of poll: kSuccess acknowledges, kLater and an
    /// exception give back after retry_delay. kConflict: it was called before.
    Status start(Listener listener);

    /// Takes no more, waits at most `limit` for running listener calls and for the brokers to know
    /// what was acknowledged, and gives back what was not polled. kTimeout: not all of it in time.
    /// Not from the listener. Idempotent.
    Status close(std::chrono::milliseconds limit);

private:
    struct State;
    explicit PopConsumer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace gantry::client
