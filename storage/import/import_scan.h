// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/result.h"
#include "storage/import/rocketmq_queues.h"
#include "storage/log/log_reader.h"
#include "storage/log/segment.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gantry::storage {

/// What the log of a source has of one queue.
struct ScannedQueue {
    LogOffset lives_from;  ///< records below it are of a deleted topic of that name
    std::int64_t first = 0;
    std::int64_t next = 0;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t dead = 0;  ///< records of deleted topics
    std::uint64_t gap = 0;   ///< offsets between first and next that no record has
};

/// Bytes of a source's log that are no record, with records behind them.
struct ScannedDamage {
    LogOffset at;
    std::uint64_t bytes = 0;
    std::string why;
};

/// What a walk over the log of a RocketMQ store has found.
struct ScannedLog {
    LogOffset first;
    LogOffset end;  ///< behind the last whole record
    std::uint64_t records = 0;
    std::uint64_t tail_bytes = 0;  ///< behind `end`, no record
    WallMs first_store_ms = 0;     ///< 0: there is no record
    WallMs last_store_ms = 0;
    std::map<std::string, std::map<std::int32_t, ScannedQueue>, std::less<>> topics;
    std::vector<ScannedDamage> damage;
    std::uint64_t kept_from_queues = 0;   ///< prepared and rolled back, of RocketMQ before 4.3
    std::uint64_t inner_batches = 0;      ///< records that hold several messages
    std::uint64_t light_dispatches = 0;   ///< messages that light queues list as well
    std::uint64_t timers = 0;             ///< of the timer wheel, due behind the last record
    std::uint64_t open_transactions = 0;  ///< half messages without an outcome
    /// By delay level, from 1: offset of the first message that was not due at the last record.
    std::map<std::int32_t, std::int64_t> delay_offsets;
};

/// Walks the log of a RocketMQ store once and tells living records from those of deleted topics.
///
/// Deleted  a queue's first living record is what RocketMQ's consume queue says, when that points
///          to a record of the queue. Else a queue offset that steps back begins a new life.
/// Threads  one; blocks on the disk.
class ImportScan {
public:
    /// What is known before the walk.
    struct Options {
        const RocketMqQueues* queues = nullptr;
        bool missing_is_deleted = false;  ///< a queue that `queues` does not list is no more
        std::map<std::int32_t, std::int64_t> half_from{};  ///< checked half messages, by queue id
        std::function<void(std::uint64_t done, std::uint64_t total)> on_progress{};
    };

    ImportScan(const SegmentSet& segments, Options options)
        : segments_(segments), options_(std::move(options)), reader_(segments), probe_(segments) {}

    /// kIo: the disk fails.
    Result<ScannedLog> run();

private:
    struct Level {
        std::vector<std::pair<std::int64_t, WallMs>> waiting;  ///< queue offset, due
    };

    Status walk(LogOffset log_end);
    Result<bool> take_damage(const LogEntry& bad, LogOffset log_end, LogOffset& at);
    Status take(const LogEntry& entry);
    void take_queue(const LogEntry& entry, ScannedQueue& queue);
    void take_special(const wire::Record& record);
    Result<LogOffset> lives_from(const wire::Record& record);
    void finish();

    const SegmentSet& segments_;
    const Options options_;
    LogReader reader_;
    LogReader probe_;
    ScannedLog log_;
    std::uint64_t told_ = 0;
    std::vector<WallMs> timers_;
    std::set<std::pair<std::int32_t, std::int64_t>> half_;
    std::map<std::int32_t, Level> levels_;
};

}  // namespace gantry::storage
