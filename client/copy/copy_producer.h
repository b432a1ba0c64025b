// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/compression.h"
#include "client/message.h"
#include "common/clock.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// A message that was stored elsewhere before.
struct CopiedMessage {
    Message message;
    WallMs born_ms = 0;     ///< when it was first sent
    std::string born_host;  ///< and from where, "host:port"; empty: from here
};

/// What a request to a RocketMQ broker cannot say of a copied message, as properties of it: the
/// broker enters who sent the copy as born host, and gives a batch one born time.
namespace copied_property {
inline constexpr std::string_view kBornHost = "GANTRY_BORN_HOST";  ///< "host:port"
inline constexpr std::string_view kBornMs = "GANTRY_BORN_MS";      ///< where the batch's is another
}  // namespace copied_property

/// Messages to one queue that are stored together or not at all, and the numbers they stand for:
/// [first, first + span), of which each is stored at most once in its stream.
///
///   stream   [0 .. 104) a b c    [104 .. 106) d e    [106 .. 107) f
///
/// Frames of a stream follow each other without a gap; in an epoch that the broker does not know
/// the first one begins with 0.
struct CopiedFrame {
    static constexpr std::int64_t kSpanMax = 0xFFFF'FFFF;

    QueueId queue;
    std::uint64_t stream = 0;  ///< one of 2^64, by which the broker tells streams apart
    std::uint32_t epoch = 0;
    std::int64_t first = 0;
    std::uint32_t span = 0;  ///< at least as many as messages
    std::vector<CopiedMessage> messages;
};

/// Where a broker is in a stream to one of its queues.
struct StreamPosition {
    std::uint64_t stream = 0;
    std::int32_t queue = 0;
    std::uint32_t epoch = 0;
    std::int64_t next = 0;  ///< the number that a frame must begin with to be stored
};

/// Sends frames whose numbers the caller gives, each once: whoever copies a queue numbers what it
/// sends by where it read it, asks the broker how far it is, and goes on there. What was sent
/// before, by this process or another, is not stored again, and nothing after a gap is.
///
///   error       stored?   what to do
///   kConflict   no        the numbers do not follow: ask positions()
///   kUnknown    unknown   ask positions(); it says also what is stored, where is forgotten
///   kRefused    no        a message the broker does not take, or numbers that were sent in another
///                         frame: positions() tells which
///   others      as Producer's
///
/// In RocketMQ's dialect there are no such numbers, see has_numbers(): a frame is stored whatever
/// the broker has, in batches of at most kBatchMessagesMax, one after the other. After an error any
/// number of its messages may be stored, from the first one on; kUnknown and kTimeout leave open
/// how many.
///
/// Order     frames to one broker leave in the order of the calls, over one connection. In
///           RocketMQ's dialect frames that are under way at once may be mixed.
/// Limits    of a broker: 16 frames of a stream in flight can be told from each other.
/// Threads   every method: any. `done` runs in a loop thread: do not block in it.
/// Lifetime  every accepted frame calls `done` exactly once, at the latest when the Client goes.
class CopyProducer {
public:
    /// Limits and compression.
    struct Options {
        std::string group = "gantry-copy";          ///< for lists
        std::chrono::milliseconds timeout{10'000};  ///< of each request
        std::uint32_t message_bytes_max = 4U << 20U;
        Compression compression;
    };

    using Done = UniqueFunction<void(Result<SendReceipt>)>;

    /// Messages of a frame that a RocketMQ broker stores together: its answer has an id for each.
    static constexpr std::size_t kBatchMessagesMax = 1'024;

    /// kRefused: an option out of its range.
    static Result<std::unique_ptr<CopyProducer>> create(std::shared_ptr<Client> client,
                                                        const Options& options);
    ~CopyProducer();
    CopyProducer(const CopyProducer&) = delete;
    CopyProducer& operator=(const CopyProducer&) = delete;

    /// Whether the brokers know the frames' numbers: Gantry's dialect.
    bool has_numbers() const noexcept;

    /// Returns at once. On an error `done` is not called. kRefused: a message that cannot be sent.
    /// kGone: no broker of that name is known; queues() asks the nameservers.
    Status send_async(const CopiedFrame& frame, Done done);

    /// How far the broker is in every stream to the topic's queues there. Blocks.
    /// kUnsupported: a broker without numbered sends, and RocketMQ's dialect.
    Result<std::vector<StreamPosition>> positions(std::string_view topic,
                                                  const std::string& broker);

    /// The topic's writable queues as routed now, sorted. Blocks. kNotFound: no such topic.
    Result<std::vector<QueueId>> queues(std::string_view topic);

private:
    struct State;
    explicit CopyProducer(std::shared_ptr<State> state);
    Status send_to_rocketmq(const CopiedFrame& frame, const std::string& address, Done done);

    std::shared_ptr<State> state_;
};

}  // namespace gantry::client
