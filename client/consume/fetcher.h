// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/consume/record_reader.h"
#include "client/message.h"
#include "client/message_selector.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace gantry::wire {
class PullMessageResponse;
}

namespace gantry::client {

class Fetcher;
class LoopSlot;
class Runtime;
struct AnswerCheck;

/// Takes what fetchers bring. Called in their loop; must not block for long.
class FetchSink {
public:
    FetchSink() = default;
    FetchSink(const FetchSink&) = delete;
    FetchSink& operator=(const FetchSink&) = delete;
    virtual ~FetchSink() = default;

    /// A piece of the queue, possibly without a record (all filtered out). True: ask for the next
    /// at once; false: resume() will be called.
    virtual bool on_chunk(const QueueId& queue, Chunk chunk) = 0;
    /// Whether on_chunk() of that many bytes would say true now.
    virtual bool has_room_for(const QueueId& queue, std::size_t bytes) = 0;
    /// The offset `from` asked for does not exist; the queue goes on at `offset`.
    virtual void on_moved(const QueueId& queue,
                          std::int64_t from,
                          std::int64_t offset,
                          std::uint64_t epoch) = 0;
};

/// How a consumer pulls; the same for all its queues of one topic.
struct FetchOptions {
    std::string group;
    MessageSelector selector;
    std::int64_t subscription_version = 0;
    std::uint32_t messages_max = 4'096;
    std::uint32_t bytes_max = 1U << 20U;
    std::chrono::milliseconds hold{15'000};
    bool check_crc = true;        ///< of each body
    std::int64_t lock_token = 0;  ///< of who consumes in order
};

/// Reads one queue from an offset on: one pull is always out, the next leaves as soon as an answer
/// has arrived, until the sink has enough. The broker holds a pull that finds nothing.
///
///   loop   answer | next pull leaves | check, give to the sink      where bodies are checked: the
///   broker                            | reads, sends . . . . . .    broker works meanwhile
///
/// Damage    a record that fails its checks ends the chunk before it and is asked for once more,
///           alone; when it fails again it is given to the sink as lost, and the next one is asked
///           for.
/// Slaves    a broker that says so is read at the slave it names, and at any slave while it has no
///           master; the slave's answers lead back.
/// Errors    a broker that fails or is away is asked again after 20 ms to 1 s, for ever; the route
///           is refreshed. An offset out of range moves to where the broker says; when that is
///           nowhere, the queue stands until the group's committed offset, or its policy, changes.
/// Threads   every method: any; work happens in the slot's loop.
/// Lifetime  kept alive by the pull that is out. After stop() no new call of the sink starts.
class Fetcher final : public net::PassEnd, public std::enable_shared_from_this<Fetcher> {
public:
    Fetcher(Runtime& runtime, LoopSlot& slot, QueueId queue, FetchOptions options);
    ~Fetcher() override;
    Fetcher(const Fetcher&) = delete;
    Fetcher& operator=(const Fetcher&) = delete;

    /// Starts at `offset`, or goes there. Chunks asked for before carry a smaller epoch.
    void seek(std::int64_t offset, std::uint64_t epoch, std::weak_ptr<FetchSink> sink);
    /// The sink has room again.
    void resume();
    void stop();

    /// Checks the answer of this pass, after the next pull has left.
    void on_pass_end() override;

    const QueueId& queue() const noexcept { return queue_; }

private:
    /// Records that came for a pull from `from`.
    struct Answer {
        Bytes records;
        std::shared_ptr<const ReceivedBody> origin;
        std::int64_t from = 0;
        std::int64_t next = 0;
    };

    /// One that is checked at the end of the pass.
    struct Unchecked {
        std::shared_ptr<Fetcher> self;
        Answer answer;
        std::uint64_t epoch = 0;
    };

    void pull_in_loop();
    void answered_in_loop(Result<net::Received>& result, std::uint64_t asked);
    void deliver_in_loop(const net::Received& received, const wire::PullMessageResponse& fields);
    void forget_unchecked_in_loop();
    void check_in_loop(const Answer& answer);
    void damaged_in_loop(const Answer& answer, const AnswerCheck& check);
    void lost_in_loop(const wire::PullMessageResponse& fields);
    void give_in_loop(Chunk chunk);
    void nothing_in_loop(const net::Received& received, const wire::PullMessageResponse& fields);
    void stand_in_loop(const wire::PullMessageResponse& fields);
    void look_for_reset_in_loop(std::int64_t min, std::int64_t max);
    void failed_in_loop(const Error& error);
    void pull_after_in_loop(std::chrono::milliseconds pause);

    Runtime& runtime_;
    LoopSlot& slot_;
    const QueueId queue_;
    const FetchOptions options_;
    Counter& corrupt_count_;
    Counter& standing_count_;

    // The rest belongs to the loop.
    std::weak_ptr<FetchSink> sink_;
    std::string address_;
    std::int64_t reader_ = 0;  // broker id the last answer sent us to; 0: the master
    std::int64_t offset_ = 0;
    std::uint64_t epoch_ = 0;
    std::uint64_t asked_ = 0;  // pulls; only the answer to the last one counts
    std::optional<Unchecked> unchecked_;
    SteadyTime asked_at_;
    std::uint32_t failures_ = 0;
    std::unique_ptr<net::Timer> timer_;
    std::shared_ptr<const ReceivedBody> unpinned_;  // the broker's name, for empty chunks
    bool is_asking_ = false;
    bool is_waiting_ = false;   // for resume()
    bool is_suspect_ = false;   // the record at offset_ came damaged: once more, alone
    bool is_standing_ = false;  // the offset is out of range, and the policy is not to move
    bool is_stopped_ = false;
};

}  // namespace gantry::client
