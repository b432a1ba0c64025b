// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/cold/cold_pace.h"
#include "storage/scrub/segment_scrub.h"
#include "storage/scrub/unit_check.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

namespace gantry::storage {

/// Reads the durable log of a running store again and again, slowly, and compares it with its
/// checksums and its consume queues, so that what a disk forgets is found before somebody needs it.
///
///   first     position                 end of the round      flushed
///     o----------o-----------------------o- - - - - - - - - - -o
///     | checked  | next                  | the next round's
///
/// Damage is quarantined as a start does it, or only told, where store.on_damage says refuse. A
/// unit of a consume queue that is wrong is written again where the record is certain, else told.
/// The key index is not looked at: who searches it compares the key with the record.
///
/// Threads   one inside, "scrub", unless the rate is 0. step, run, stop: any other.
/// Errors    of the disk are findings. Others end the round; the next one begins later.
/// Lifetime  `parts` outlives it; stop() before the log goes.
/// Source    docs/durability.md.
class Scrubber {
public:
    Scrubber(Store::Parts& parts, const ScrubOptions& options);
    ~Scrubber();
    Scrubber(const Scrubber&) = delete;
    Scrubber& operator=(const Scrubber&) = delete;

    /// Goes on where the last process was, in its thread.
    void start();
    /// Ends the thread after the read under way, and keeps the position. Blocks. Idempotent.
    void stop();

    /// What the thread does at `now`: reads and checks one piece, when it is time. Returns when it
    /// is next. Blocks on the disk.
    SteadyTime step(SteadyTime now);

    /// One whole round now, as fast as the disk gives the log. Blocks. kClosed: stopped.
    Result<ScrubReport> run();

private:
    /// What gauges show; shared with the metric registry, which may outlive the scrubber.
    struct Levels {
        std::atomic<std::int64_t> position{0};
        std::atomic<std::int64_t> done_ms{0};
    };

    struct Round {
        ScrubReport report;
        SteadyTime begun;
        WallMs begun_ms;
    };

    void register_metrics();
    void work();
    void resume() GANTRY_REQUIRES(round_mutex_);
    void begin_round(SteadyTime now) GANTRY_REQUIRES(round_mutex_);
    void end_round(SteadyTime now) GANTRY_REQUIRES(round_mutex_);
    Result<std::uint64_t> advance(SteadyTime now) GANTRY_REQUIRES(round_mutex_);
    SegmentPtr next_segment() const GANTRY_REQUIRES(round_mutex_);
    void account(const ScrubTally& tally) GANTRY_REQUIRES(round_mutex_);
    void take_damage(const ScrubDamage& damage) GANTRY_REQUIRES(round_mutex_);
    void tell_only(const ScrubDamage& damage) const;
    void take_wrong_unit(const WrongUnit& unit) GANTRY_REQUIRES(round_mutex_);
    void save_mark() GANTRY_REQUIRES(round_mutex_);

    Store::Parts& parts_;
    const ScrubOptions options_;
    Counter& bytes_;
    Counter& rounds_;
    Counter& findings_;
    Counter& damage_;
    Counter& read_errors_;
    Counter& wrong_units_;
    Counter& mended_units_;
    const std::shared_ptr<Levels> levels_ = std::make_shared<Levels>();

    Mutex round_mutex_;  ///< one piece at a time
    UnitCheck units_ GANTRY_GUARDED_BY(round_mutex_);
    TokenBucket bucket_ GANTRY_GUARDED_BY(round_mutex_);
    std::optional<Round> round_ GANTRY_GUARDED_BY(round_mutex_);
    std::optional<SegmentScrub> segment_ GANTRY_GUARDED_BY(round_mutex_);
    LogOffset position_ GANTRY_GUARDED_BY(round_mutex_);
    ScrubReport last_ GANTRY_GUARDED_BY(round_mutex_);
    SteadyTime due_ GANTRY_GUARDED_BY(round_mutex_){};  ///< of the next round
    SteadyTime saved_ GANTRY_GUARDED_BY(round_mutex_){};

    std::atomic<bool> is_stopping_{false};
    Mutex mutex_;
    std::condition_variable woken_;
    std::thread thread_;
};

}  // namespace gantry::storage
