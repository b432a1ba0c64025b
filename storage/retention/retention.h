// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/retention/file_shrinker.h"
#include "storage/retention/retention_clock.h"
#include "storage/retention/retention_policy.h"
#include "storage/retention/topic_retention.h"
#include "storage/store.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gantry::storage {

/// Deletes messages that may go, so that the log does not grow for ever.
///
///   topics with own rules: oldest messages of their queues move up
///   log: first moves up -> queues -> (snapshots reach it) -> key index -> files renamed
///        -> shrunk in steps, removed
///
/// Every step may be the last one before a stop: the next start serves what is left.
///
/// Threads   one inside, "retain"; run, status: any. Nothing runs per queue while there is nothing
///           to delete, but for topics with rules of their own.
/// Errors    of the disk: told in the log of the program, tried again at the next look.
/// Lifetime  `parts` outlives it; stop() before the log goes.
/// Source    docs/retention.md.
class Retention {
public:
    explicit Retention(Store::Parts& parts);
    ~Retention();
    Retention(const Retention&) = delete;
    Retention& operator=(const Retention&) = delete;

    /// Starts the thread; the first look is one interval away.
    void start();
    /// Ends the thread after the step under way. Blocks. Idempotent.
    void stop();
    /// One round now, and the room of what it deletes given back as far as no reader has it open.
    Status run();

    RetentionStatus status() const;

private:
    void work();
    bool wait(std::chrono::milliseconds longest);
    Status round() GANTRY_REQUIRES(round_mutex_);
    WallMs advance_clock() GANTRY_REQUIRES(round_mutex_);
    void save_clock() GANTRY_REQUIRES(round_mutex_);
    WallMs stored_ms_of(LogOffset at) const;
    LogOffset expired_by_default(WallMs now) GANTRY_REQUIRES(round_mutex_);
    LogOffset needed_by_others(LogOffset at_least) GANTRY_REQUIRES(round_mutex_);
    Status delete_before(LogOffset end, bool is_forced) GANTRY_REQUIRES(round_mutex_);
    void shrink_all() GANTRY_REQUIRES(round_mutex_);
    Status look_at_room() GANTRY_REQUIRES(round_mutex_);
    Status make_room(std::uint64_t left) GANTRY_REQUIRES(round_mutex_);
    void set_alarm(const VolumeRoom& best, std::uint32_t percent);
    void count_unconsumed(const std::vector<ConsumeQueues::Moved>& moved, bool is_forced);
    void tell_unconsumed(const std::string& topic,
                         const std::string& group,
                         std::uint64_t messages);

    Store::Parts& parts_;
    const RetentionOptions& options_;
    Counter& deleted_segments_;
    Counter& deleted_bytes_;
    Counter& deleted_unconsumed_;
    Counter& forced_messages_;

    Mutex round_mutex_;  ///< one round at a time; before mutex_
    std::optional<RetentionClock> clock_ GANTRY_GUARDED_BY(round_mutex_);
    SteadyTime looked_ GANTRY_GUARDED_BY(round_mutex_);
    SteadyTime clock_saved_ GANTRY_GUARDED_BY(round_mutex_);
    std::uint32_t full_looks_ GANTRY_GUARDED_BY(round_mutex_) = 0;
    bool is_clock_ahead_ GANTRY_GUARDED_BY(round_mutex_) = false;
    TopicRetentions topics_ GANTRY_GUARDED_BY(round_mutex_);
    FileShrinker shrinker_ GANTRY_GUARDED_BY(round_mutex_);
    std::map<LogOffset, WallMs> first_ms_ GANTRY_GUARDED_BY(round_mutex_);  ///< of segments
    std::string blocker_ GANTRY_GUARDED_BY(round_mutex_);  ///< topic that needed the first segment

    mutable Mutex mutex_;
    std::condition_variable woken_;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::map<std::string, std::uint64_t> unconsumed_ GANTRY_GUARDED_BY(mutex_);
    std::string alarm_ GANTRY_GUARDED_BY(mutex_);
    std::shared_ptr<std::atomic<std::uint32_t>> percent_taken_ =
        std::make_shared<std::atomic<std::uint32_t>>(0);
    std::shared_ptr<std::atomic<bool>> is_alarmed_ = std::make_shared<std::atomic<bool>>(false);
    std::shared_ptr<std::atomic<std::int64_t>> clock_lag_ms_ =
        std::make_shared<std::atomic<std::int64_t>>(0);
    std::thread thread_;
};

}  // namespace gantry::storage
