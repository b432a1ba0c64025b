// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/filter/message_filter.h"
#include "broker/peer.h"
#include "common/clock.h"
#include "common/ids.h"
#include "protocol/net/event_loop.h"
#include "storage/topic_table.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gantry::storage {
class Store;
}

namespace gantry::broker {

/// A checked pull, kept after its request's bytes are gone.
struct PullQuery {
    Addressee to;
    storage::Topic* topic = nullptr;
    storage::Queue* queue = nullptr;
    std::string group;  ///< may be empty
    QueueOffset from;
    std::uint32_t bytes_max = 0;
    std::uint32_t count_max = 0;
    MessageFilter filter;
    std::chrono::milliseconds hold{0};  ///< zero: answer at once, whatever there is
    bool has_moved = false;             ///< messages behind the asked offset were filtered out
    bool was_cold = false;              ///< something had to come from the disk
    std::uint32_t cold_rounds = 0;      ///< cold reads in which an SQL92 filter matched nothing
};

/// Answers parked pulls; implemented by the pull handler.
class ParkedReader {
public:
    ParkedReader() = default;
    ParkedReader(const ParkedReader&) = delete;
    ParkedReader& operator=(const ParkedReader&) = delete;
    virtual ~ParkedReader() = default;
    /// Reads again. True: answered (or given up); false: still nothing, `query` says from where to
    /// go on. With `is_last` it always answers.
    virtual bool try_answer(PullQuery& query, bool is_last) = 0;
};

/// The pulls of one loop's connections that wait for messages, by queue. A pass that appends to a
/// queue wakes its pulls once, at the end of the pass, however much it appended.
///
/// Threads   the loop's thread; has_parked: any.
/// Limits    deadlines are kept to within kSweep.
class LongPoll {
public:
    static constexpr std::chrono::milliseconds kSweep{100};

    LongPoll(net::EventLoop& loop, const Clock& clock, ParkedReader& reader);

    /// Takes a pull, whose topic and queue are set, until it is answered or its hold has passed.
    /// Looks for no messages: who parks checks afterwards whether some came in between.
    void park(PullQuery query);
    /// Marks the queue's pulls for the next wake_touched(); true when there are any.
    bool touch(const storage::Queue* queue);
    /// Marks the pulls of every queue of `topic`.
    bool touch_topic(const storage::Topic* topic);
    /// Marks the pulls of queues that have, by now, what they ask for.
    bool touch_grown(const storage::Store& store);
    /// Tries the marked pulls again; how many that were.
    std::size_t wake_touched();
    /// Forgets the pulls of a closed connection.
    void drop_peer(PeerId peer);
    /// Answers everything, for a clean stop.
    void answer_all();

    bool has_parked() const noexcept { return count_.load(std::memory_order_seq_cst) != 0; }

    std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
    using ParkId = std::uint64_t;
    using Deadline = std::pair<SteadyTime, ParkId>;

    struct ByQueue {
        std::vector<ParkId> parked;  ///< ascending
        bool is_touched = false;
    };

    using Parked = std::unordered_map<ParkId, PullQuery>;

    void sweep();
    void answer(Parked::iterator at);
    void forget(Parked::iterator at);
    void leave_queue(const storage::Queue* queue, ParkId id);
    void drop_stale_deadlines();

    const Clock& clock_;
    ParkedReader& reader_;
    net::Timer sweep_timer_;
    bool is_sweeping_ = false;
    ParkId next_id_ = 1;
    Parked parked_;
    std::unordered_map<const storage::Queue*, ByQueue> by_queue_;
    std::unordered_map<PeerId, std::unordered_set<ParkId>> by_peer_;
    std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
    std::vector<const storage::Queue*> touched_;
    std::atomic<std::size_t> count_{0};
};

}  // namespace gantry::broker
