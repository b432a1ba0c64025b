// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/filter/message_filter.h"
#include "broker/peer.h"
#include "common/clock.h"
#include "protocol/net/event_loop.h"
#include "storage/topic_table.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::broker {

/// A checked pop, kept after its request's bytes are gone.
struct PopQuery {
    Addressee to;
    storage::Topic* topic = nullptr;
    std::string group;
    std::int32_t queue_id = -1;  ///< -1: any
    std::uint32_t count_max = 0;
    std::uint32_t bytes_max = 0;
    std::int64_t invisible_ms = 0;
    bool begins_at_end = false;  ///< of queues that the group has not consumed before
    MessageFilter filter;
    bool may_wait = false;
    SteadyTime until{};  ///< waits no longer
};

/// Answers parked pops.
class PopReader {
public:
    PopReader() = default;
    PopReader(const PopReader&) = delete;
    PopReader& operator=(const PopReader&) = delete;
    virtual ~PopReader() = default;
    /// Looks again. True: the query is answered, or will be; false: there is nothing for it. With
    /// `is_last` it always is.
    virtual bool try_answer(PopQuery& query, bool is_last) = 0;
};

/// The pops of one loop's connections that wait for messages, by topic, first come first served.
/// When a queue of the topic grows, those of each group are tried until one finds nothing. All are
/// tried every kSweep too, for messages whose invisible time is over.
///
/// Threads   the loop's thread; has_parked, count: any.
class PopParking {
public:
    static constexpr std::chrono::milliseconds kSweep{50};

    PopParking(net::EventLoop& loop, const Clock& clock, PopReader& reader);

    /// Takes a pop until it is answered or its time is over.
    void park(PopQuery query);
    /// Marks the topic's pops for the next wake_touched(); true when there are any.
    bool touch(std::string_view topic);
    /// Tries the marked pops again; how many that were.
    std::size_t wake_touched();
    /// Forgets the pops of a closed connection.
    void drop_peer(PeerId peer);
    /// Answers everything, for a clean stop.
    void answer_all();

    bool has_parked() const noexcept { return count_.load(std::memory_order_seq_cst) != 0; }

    std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

private:
    using Parked = std::map<std::uint64_t, PopQuery>;  ///< in the order in which they came

    struct ByTopic {
        Parked parked;
        bool is_touched = false;
    };

    void sweep();
    std::size_t wake(ByTopic& waiting);
    void end(std::vector<PopQuery> queries);
    void took(std::size_t count);

    const Clock& clock_;
    PopReader& reader_;
    net::Timer sweep_timer_;
    bool is_sweeping_ = false;
    std::uint64_t next_id_ = 1;
    std::unordered_map<std::string_view, ByTopic> by_topic_;  ///< by Topic::name()
    std::vector<std::string_view> touched_;
    std::atomic<std::size_t> count_{0};
};

}  // namespace gantry::broker
