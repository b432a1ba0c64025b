// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"
#include "protocol/net/connection.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gantry::nameserver {

/// A parked route-change request (10011).
struct Watch {
    /// A topic and the version of its route the client knows.
    struct Entry {
        std::string topic;
        std::uint64_t version = 0;
    };

    net::ReplyTo to;
    SteadyTime deadline{};
    std::vector<Entry> topics;
};

/// The parked requests, by topic, by connection and by deadline. A watch leaves the table by one of
/// the take functions, or with its connection.
///
/// Limits    kPerConnection watches a connection, `topics_max` watched topics in all.
/// Threads   one; no I/O, no lock.
class WatchTable {
public:
    static constexpr std::size_t kPerConnection = 8;

    explicit WatchTable(std::uint64_t topics_max) : topics_max_(topics_max) {}

    /// Parks a watch. kBusy: a limit is reached.
    Status park(Watch watch);

    /// The route of `topic` changed: its watches are due.
    void mark(const std::string& topic);

    bool has_due() const noexcept { return !due_.empty(); }

    /// Removes and returns the watches that are due.
    std::vector<Watch> take_due();
    /// Removes and returns the watches whose deadline is not after `now`.
    std::vector<Watch> take_expired(SteadyTime now);
    std::optional<SteadyTime> next_deadline() const;

    /// Forgets the watches of a closed connection.
    void drop_connection(net::ConnectionId connection);

    std::size_t size() const noexcept { return watches_.size(); }

private:
    using Id = std::uint64_t;

    Watch take(Id id);

    const std::uint64_t topics_max_;
    Id next_id_ = 1;
    std::unordered_map<Id, Watch> watches_;
    std::unordered_map<std::string, std::unordered_set<Id>> by_topic_;
    std::unordered_map<net::ConnectionId, std::unordered_set<Id>> by_connection_;
    std::multimap<SteadyTime, Id> by_deadline_;
    std::unordered_set<Id> due_;
    std::uint64_t topic_count_ = 0;
};

}  // namespace gantry::nameserver
