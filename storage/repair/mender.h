// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/log/lost_ranges.h"
#include "storage/repair/replica_source.h"
#include "storage/store_parts.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace gantry::storage {

/// Takes what is lost of the log from another copy, in the background, whoever found it: a start,
/// the scrubber or a cold read.
///
///   lost ranges -> areas, joined where they touch -> RangeMend, copy by copy -> MendedUnits
///     -> queues durable -> off the list of lost ranges, durably -> readers get them
///
/// A stop at any point leaves a range that is lost, or one that is mended. What cannot be mended is
/// tried again after kRetryMin, then after twice as long each time, up to kRetryMax; at once when
/// something else is lost. Only what is confirmed is mended.
///
/// Threads   one inside, "repair", from the first source on. Everything else: any; run blocks on
///           the disk and on the source, stop until the fetch under way has ended.
/// Lifetime  `parts` outlives it.
class Mender {
public:
    static constexpr std::chrono::seconds kRetryMin{1};
    static constexpr std::chrono::seconds kRetryMax{60};

    explicit Mender(Store::Parts& parts);
    ~Mender();
    Mender(const Mender&) = delete;
    Mender& operator=(const Mender&) = delete;

    /// Where to take bytes from; null: nowhere. The one before is cancelled.
    void set_source(std::shared_ptr<ReplicaSource> source);
    /// The list of lost ranges has grown.
    void wake();
    /// Cancels the source and ends the thread. Idempotent. Blocks.
    void stop();

    /// Tries everything once, now. kNotFound: there is no source. kClosed: stopped.
    Result<MendReport> run();

private:
    void start() GANTRY_REQUIRES(mutex_);
    void work();
    void mend_all(ReplicaSource& source, MendReport& report) GANTRY_REQUIRES(pass_mutex_);
    Status mend(ReplicaSource& source, const LostRange& area, MendReport& report)
        GANTRY_REQUIRES(pass_mutex_);
    Status mend_from_any(ReplicaSource& source, const LostRange& area, MendReport& report)
        GANTRY_REQUIRES(pass_mutex_);
    LogOffset record_start(LogOffset at) const;

    Store::Parts& parts_;
    Counter& ranges_;
    Counter& blocks_;
    Counter& bytes_;
    Counter& failures_;

    Mutex pass_mutex_;  ///< one pass at a time; before mutex_
    Mutex mutex_;
    std::condition_variable woken_;
    std::shared_ptr<ReplicaSource> source_ GANTRY_GUARDED_BY(mutex_);
    bool is_woken_ GANTRY_GUARDED_BY(mutex_) = false;
    std::atomic<bool> is_stopping_{false};
    std::thread thread_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage
