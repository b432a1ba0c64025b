// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "client/sharing.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// Where a group starts in a queue for which it never committed an offset.
struct StartFrom {
    /// The newest message, the oldest that is still there, or the first stored at a time.
    enum class Kind : std::uint8_t { kLast, kFirst, kTimestamp };
    Kind kind = Kind::kLast;
    WallMs timestamp = 0;
};

/// What a listener says about a batch of messages.
enum class ConsumeResult : std::uint8_t {
    kSuccess,
    kLater,  ///< all of the batch come again, after the group's delay
};

/// Who of a consumer group receives a message.
enum class Model : std::uint8_t {
    kClustering,    ///< one member; the group's offsets are at the brokers
    kBroadcasting,  ///< every member; each keeps its offsets in a file of its own
};

/// Receives messages by managed long polling: a member of a consumer group that shares the queues
/// of its topics out with the other members (or reads them all, when it broadcasts), calls the
/// listener from a pool of threads, commits what is done, and sends back what failed.
///
/// Delivery  at least once. An offset is committed when everything below it was consumed or sent
///           back; after a crash the rest comes again. Messages that are lost to damage are stepped
///           over, logged, counted and told by on_lost.
/// Failure   of a batch (kLater, an exception): its messages go back to their broker and come
///           again after the group's delay, to any member. kBroadcasting: they come again to this
///           member every retry_delay, attempts_max times in all, then are logged, counted
///           (gantry_client_broadcast_given_up_total) and left.
/// Threads   the listener runs in `threads` pool threads, at most one batch per thread at a time;
///           batches of one queue may run side by side. Other methods: any thread.
/// Errors    start: kRefused for names, no subscription, or an SQL expression that does not parse;
///           kGone when no nameserver answers. kBroadcasting: kConflict, another consumer has
///           offsets_file; kCorrupt, kRefused, it is damaged or another group's; kIo.
/// Lifetime  stop() (or the destructor) returns when no listener call runs any more.
class PushConsumer {
public:
    /// Identity, threads and limits.
    struct Options {
        std::string group;
        Model model = Model::kClustering;
        /// kBroadcasting: where this member's offsets are; its folder is made when it is missing.
        std::string offsets_file;
        Sharing sharing = Sharing::by_broker();
        /// kBroker: a queue that is to be handed over is given up at the latest after that time,
        /// what the listener has of it then comes again at its next reader.
        std::chrono::milliseconds hand_over_limit{30'000};
        StartFrom start_from;
        std::uint32_t threads = 1;
        std::uint32_t batch_messages_max = 1;  ///< given to one listener call
        std::uint32_t pull_messages_max = 4'096;
        std::uint32_t pull_bytes_max = 1U << 20U;
        std::uint64_t queue_bytes_max = std::uint64_t{16}
                                        << 20U;  ///< fetched, not consumed, per queue
        std::chrono::milliseconds commit_interval{1'000};
        std::chrono::milliseconds poll_hold{15'000};  ///< long poll
        /// Before a batch is given to the listener again that failed and that no broker took back.
        std::chrono::milliseconds retry_delay{5'000};
        std::uint32_t attempts_max = 16;  ///< kBroadcasting
        /// Called once for each piece of a queue that is lost, by a pool thread that has come to
        /// it; the offset behind it is committed after that.
        OnLost on_lost;
        bool check_crc = true;    ///< of each body; what fails twice is told by on_lost
        double trace_sample = 0;  ///< as a producer's; of messages that have a UNIQ_KEY
    };

    using Listener = std::function<ConsumeResult(std::span<const MessageView>)>;

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<PushConsumer>> create(std::shared_ptr<Client> client,
                                                        const Options& options);
    ~PushConsumer();
    PushConsumer(const PushConsumer&) = delete;
    PushConsumer& operator=(const PushConsumer&) = delete;

    /// Before start. A topic may come into being later. `expression`: "*" or tags joined by "||".
    Status subscribe(std::string_view topic, std::string_view expression = "*");
    /// Before start. An SQL expression that the brokers do not take is found out by start().
    Status subscribe(std::string_view topic, const MessageSelector& selector);
    /// Joins the group and starts the threads. kConflict: started already, or the group has another
    /// member made from the same Client.
    Status start(Listener listener);
    /// Stops fetching, waits for running listeners, commits, leaves the group. Not from the
    /// listener.
    void stop();
    /// Queues this member holds now.
    std::vector<QueueId> assignment() const;

private:
    struct State;
    explicit PushConsumer(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

/// Receives messages when asked: the application polls, seeks and commits.
///
/// Threads   one thread polls; other methods from any thread.
/// Errors    poll returns what arrived, possibly nothing; a queue whose offset is out of range
///           moves to the nearest valid offset and says so in out_of_range_count(). Messages that
///           are lost to damage are stepped over, logged, counted and told by on_lost.
class PullConsumer {
public:
    /// Identity and limits.
    struct Options {
        std::string group;  ///< may be empty when nothing is committed and nothing subscribed
        Sharing sharing;    ///< of what is subscribed
        StartFrom start_from;
        std::uint32_t pull_messages_max = 4'096;
        std::uint32_t pull_bytes_max = 1U << 20U;
        std::uint64_t buffer_bytes_max = std::uint64_t{32} << 20U;  ///< fetched ahead, all queues
        std::chrono::milliseconds poll_hold{15'000};
        /// Called by poll, once for each piece of a queue that is lost, after what is before it was
        /// returned and before what is behind it is; the position is behind it then.
        OnLost on_lost;
        bool check_crc = true;  ///< of each body; what fails twice is told by on_lost
    };

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<PullConsumer>> create(std::shared_ptr<Client> client,
                                                        const Options& options);
    ~PullConsumer();
    PullConsumer(const PullConsumer&) = delete;
    PullConsumer& operator=(const PullConsumer&) = delete;

    /// The topic's readable queues.
    Result<std::vector<QueueId>> queues(std::string_view topic);
    /// Reads exactly these queues, whoever else does, each from the group's committed offset or
    /// else from start_from. Waits until the brokers have told them. Queues that are read already
    /// keep their selector. kNotFound: no such queue. kConflict: the consumer has subscribed.
    /// kRefused, kUnsupported: the brokers do not take the selector's expression.
    Status assign(std::vector<QueueId> queues, const MessageSelector& selector = {});
    /// Shares the topic's queues out with the group's other members. Returns at once; queues come
    /// and go while it polls. kConflict: the consumer has assigned.
    Status subscribe(std::string_view topic, std::string_view expression = "*");
    /// The same; asks a broker about an SQL expression first. kRefused: it does not parse.
    /// kUnsupported: the brokers do not filter by SQL.
    Status subscribe(std::string_view topic, const MessageSelector& selector);
    std::vector<QueueId> assignment() const;

    /// Messages that have arrived, waiting up to `wait` for the first.
    std::vector<MessageView> poll(std::chrono::milliseconds wait, std::size_t count_max = 4'096);

    /// The next poll returns the message at `offset`. kNotFound: a queue not assigned.
    Status seek(const QueueId& queue, std::int64_t offset);
    /// poll returns nothing of the queue until resume.
    void pause(const QueueId& queue);
    /// Ends pause.
    void resume(const QueueId& queue);
    /// Offset of the next message poll returns from the queue; -1: not assigned.
    std::int64_t position(const QueueId& queue) const;

    /// Commits what poll has returned so far, and waits for the brokers.
    Status commit();
    /// Commits any offset of any queue.
    Status commit(const QueueId& queue, std::int64_t offset);
    /// What the group has committed; nothing when it never did.
    Result<std::optional<std::int64_t>> committed(const QueueId& queue);

    /// Offset of the oldest message there is.
    Result<std::int64_t> min_offset(const QueueId& queue);
    /// Offset that the next message stored will get.
    Result<std::int64_t> max_offset(const QueueId& queue);
    /// Offset of the first message stored at `time` or later.
    Result<std::int64_t> offset_by_time(const QueueId& queue, WallMs time);
    /// How often a queue moved because its offset did not exist.
    std::uint64_t out_of_range_count() const;

    /// Leaves the group, stops fetching; commits nothing. Idempotent; the destructor calls it.
    void close();

private:
    struct State;
    explicit PullConsumer(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

}  // namespace gantry::client
