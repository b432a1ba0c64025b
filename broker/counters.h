// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/result.h"

#include <array>
#include <atomic>

namespace gantry::broker {

/// What the broker counts of flow control. Threads: any.
struct FlowCounters {
    explicit FlowCounters(MetricRegistry& registry);

    Counter& refused;         ///< sends and others, by limits of rates and of memory
    Counter& delayed;         ///< pulls and pops that waited for tokens
    Counter& memory_refused;  ///< of refused, for want of memory
};

/// What the broker counts of replies to requests. Threads: any.
struct ReplyCounters {
    explicit ReplyCounters(MetricRegistry& registry);

    Counter& pushed;
    Counter& unserved;  ///< nobody of that client id was connected
};

/// What the broker counts of pops. Threads: any.
struct PopCounters {
    explicit PopCounters(MetricRegistry& registry);

    Counter& asked;
    Counter& parked;
    Counter& woken;
    Counter& again;      ///< messages handed out that had been before
    Counter& acked;      ///< messages
    Counter& stale;      ///< messages acknowledged or re-timed by whoever did not own them
    Counter& unwritten;  ///< passes whose leases the store did not take
};

/// What the broker counts of queues that it deals out to members. Threads: any.
struct ShareCounters {
    explicit ShareCounters(MetricRegistry& registry);

    Counter& granted;
    Counter& members_expired;
    Counter& commits_fenced;  ///< offsets committed under a grant that was over
    Counter& out_of_range;    ///< pulls from an offset that does not exist
};

/// What the broker counts of delayed messages. Threads: any.
struct DelayCounters {
    explicit DelayCounters(MetricRegistry& registry);

    Counter& in;
    Counter& out;
    Counter& cancelled;
    Counter& dropped;  ///< due messages whose topic is gone
};

/// The broker's own metrics. Threads: any.
struct Counters {
    explicit Counters(MetricRegistry& registry);

    Counter& requests;
    Counter& messages_in;
    Counter& bytes_in;
    Counter& sends_repeated;  ///< numbered ones that were stored before
    Counter& sends_misnumbered;
    Counter& messages_out;
    Counter& bytes_out;
    Counter& expired;  ///< messages, counted for each read that left them out
    Counter& pulls;
    Counter& pulls_parked;
    Counter& pulls_woken;
    Counter& cold_reads;
    Counter& filter_scanned;  ///< messages that an SQL92 expression was asked of
    Counter& filter_matched;
    Counter& filter_failed;  ///< not matched: a property is not the number it is compared with
    Counter& lost_told;      ///< messages, counted for each answer that told of them
    Counter& offset_commits;
    Counter& offsets_lost;  ///< one-way commits the store refused
    Counter& sent_back;
    Counter& dead_letters;
    Counter& fenced;  ///< requests with a lock token that is over
    Counter& transactions_begun;
    Counter& transactions_committed;
    Counter& transactions_rolled_back;
    Counter& transactions_asked;
    Counter& transactions_unserved;  ///< questions with nobody to ask
    Counter& transactions_given_up;
    Counter& transactions_lost;  ///< their half messages cannot be read any more
    Counter& member_changes;
    Counter& requests_failed;
    std::array<Counter*, kErrcCount> failed_by_class{};
    DelayCounters delayed;
    FlowCounters flow;
    ReplyCounters replies;
    PopCounters pops;
    ShareCounters shares;

    std::atomic<std::int64_t> connections{0};
    std::atomic<std::int64_t> pending_acks{0};

private:
    void add_failures(MetricRegistry& r);
    void add_gauges(MetricRegistry& r);
};

}  // namespace gantry::broker
