// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/dead_letters.h"
#include "broker/pop/pop_parking.h"
#include "broker/pop/pop_replies.h"
#include "broker/pop/pop_turns.h"
#include "common/clock.h"
#include "common/result.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/message.pb.h"
#include "storage/pop/pops.h"
#include "storage/store.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;
class TopicCreator;

/// Hands messages of a topic's queues out to whoever of a group asks, any number of consumers for
/// any number of queues:
///
///   pop -> a queue's turn -> read -> leased -> in the log -> answer -> acknowledged: done
///                  ^                                            `-- time over --.
///                  `---------------- again, before new ones <-------------------'
///                                    or, delivered too often, to %DLQ%group
///
/// While one pop reads a queue no other does, so that a message has one owner; whoever finds all
/// queues taken waits. Turns go round over the queues, those with messages to deliver again first.
///
/// Times     leases run by a clock that starts at the wall clock's time and never steps.
/// Threads   any loop.
/// Limits    a queue with pop.leases_max leases hands nothing new out.
/// Lifetime  outlives its loops' last pass.
class PopService final : public PopReader {
public:
    PopService(Context& context, TopicCreator& creator);
    ~PopService() override;

    /// Before the loops run; starts on the first one.
    void open();
    /// Starts writing acknowledgements from time to time. On the first loop.
    void start();
    /// Writes what is to be written, and stops. On the first loop.
    void stop();
    /// Destroys what lives on the loops, which have stopped.
    void close();

    /// Answers, or parks, a pop that was checked.
    void pop(PopQuery query);
    bool try_answer(PopQuery& query, bool is_last) override;

    /// One piece of a queue, under one receipt.
    struct Piece {
        std::int32_t queue_id = 0;
        storage::OffsetSpan span;
        WallMs pop_ms = 0;
    };

    /// Ends what the receipt stands for. How many messages that were: fewer than asked for when it
    /// is known to be done, or was handed out to somebody else.
    std::int64_t acknowledge(std::string_view group, std::string_view topic, const Piece& piece);

    /// What a change of times came to.
    struct Renewed {
        std::int64_t count = 0;
        WallMs pop_ms = 0;  ///< the receipt from now on
    };

    /// How a change of times is meant.
    struct Change {
        std::int64_t invisible_ms = 0;  ///< from now on; 0: others may have them
        bool is_new_receipt = false;    ///< the time of the call becomes the receipt
        bool is_undelivered = false;    ///< the delivery does not count
    };

    /// Lets the owner keep the messages longer or shorter. Tell the owner by replies(loop).add().
    Renewed renew(LoopState& loop,
                  std::string_view group,
                  const storage::Topic& topic,
                  const Piece& piece,
                  const Change& change);

    /// What leaves that loop at the end of its pass.
    PopReplies& replies(const LoopState& loop);

    /// The time leases run by.
    WallMs now_ms() const;

private:
    storage::ReadRequest request_of(const PopQuery& query, const PopTurn& turn) const;
    storage::ReadResult read(const PopQuery& query, const PopTurn& turn) const;
    void read_cold(const PopQuery& query, const PopTurn& turn);
    void answer_cold(PopQuery query, const PopTurn& turn, Result<storage::ReadResult>& found);
    Status prepare_cold(const PopQuery& query,
                        const PopTurn& turn,
                        storage::ReadResult& found) const;
    bool needs_bytes(const PopTurn& turn, const storage::ReadResult& found) const;

    bool settle(PopQuery& query, const PopTurn& turn, storage::ReadResult& found);
    bool hand_out(PopQuery& query,
                  const PopTurn& turn,
                  storage::ReadResult& found,
                  std::vector<storage::OffsetSpan> spans);
    void bury(const PopQuery& query, const PopTurn& turn, const storage::ReadResult& found);
    void step_over(const PopQuery& query, const PopTurn& turn, const storage::ReadResult& found);
    std::vector<storage::OffsetSpan> still_due(const storage::PopQueue& popped,
                                               const PopTurn& turn,
                                               QueueOffset end) const;
    bool is_limited(PopQuery& query);
    void serve_later(PopQuery query);
    void answer_nothing(const PopQuery& query);
    LoopState& loop_of(const PopQuery& query) const;

    Context& context_;
    DeadLetters dead_letters_;
    storage::PopTable* table_ = nullptr;
    std::unique_ptr<PopTurns> turns_;
    std::vector<std::unique_ptr<PopReplies>> replies_;  ///< by loop
    std::unique_ptr<net::Timer> write_timer_;
    WallMs start_ms_ = 0;
    SteadyTime start_{};
};

}  // namespace gantry::broker
