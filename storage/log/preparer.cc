// SPDX-License-Identifier: Apache-2.0
#include "storage/log/preparer.h"

#include "common/log.h"
#include "storage/log/commit_log.h"

#include <algorithm>
#include <sys/mman.h>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

/// Prefaulted at a time: short enough for a stop to be quick.
constexpr std::int64_t kPrefaultStep = 4 << 20;

/// Has a page fault bring its page alone. Otherwise it brings as many as the device's read-ahead
/// says, which may be 8 MiB, in one go: zeroing them took a processor from everybody else for
/// 36 ms, which was the p99 of sends.
void fault_singly(const Mapping& mapping) noexcept {
    static_cast<void>(::madvise(mapping.data(), mapping.size(), MADV_RANDOM));
}

}  // namespace

void Preparer::start() {
    // What is cached from before this process is the system's.
    dropped_ = std::max(log_.first(),
                        log_.appended() - static_cast<std::int64_t>(log_.options_.cache_bytes));
    thread_ = std::thread([this] {
        set_thread_name("log-prepare");
        run();
    });
}

void Preparer::wake() {
    const MutexLock lock(mutex_);
    is_woken_ = true;
    woken_.notify_one();
}

void Preparer::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        woken_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

bool Preparer::is_stopping() {
    const MutexLock lock(mutex_);
    return is_stopping_;
}

void Preparer::run() {
    while (!is_stopping()) {
        const bool retry = work();
        // The tail may have rolled on while this thread worked.
        if (retry || !log_.needs_next()) {
            wait(retry);
        }
    }
}

void Preparer::wait(bool retry) {
    const auto deadline =
        std::chrono::steady_clock::now() + (retry ? kRetryInterval : kIdleInterval);
    MutexLock lock(mutex_);
    while (!is_woken_ && !is_stopping_ && lock.wait_until(woken_, deadline)) {
    }
    is_woken_ = false;
}

bool Preparer::work() {
    bool retry = false;
    if (log_.needs_next()) {
        Result<SegmentPtr> made = make_next(log_.next_base());
        if (!made && made.error().code == Errc::kReadOnly) {
            log_.poison(made.error());
            return false;
        }
        retry = !made;
        if (retry != is_failing_) {
            is_failing_ = retry;
            if (retry) {
                kLog.error("no next segment", {{"reason", made.error()}});
            } else {
                kLog.info("segments can be made again");
            }
        }
        log_.install_next(std::move(made));
    }
    const LogOffset tail = log_.appended();
    prefault(tail);
    log_.retire_cold_segments();
    log_.note_volumes();
    arm(tail);
    return retry;
}

Result<SegmentPtr> Preparer::make_next(LogOffset base) {
    const StoreOptions& options = log_.options_;
    GANTRY_ASSIGN_OR_RETURN(const std::vector<VolumeRoom> volumes, log_.volumes());
    const VolumeLimits limits = log_.volume_limits();
    const VolumeRoom& best = roomiest(volumes, limits);
    if (room_left(best, limits) < options.segment_bytes) {
        return Error{Errc::kDiskFull,
                     best.directory.string() + " has " + std::to_string(best.free_bytes) +
                         " B free and " + std::to_string(best.log_bytes) +
                         " B of the log: no room for store.segment_bytes " +
                         std::to_string(options.segment_bytes) + " with store.free_bytes_min " +
                         std::to_string(options.free_bytes_min) + ", store.volume_bytes_max " +
                         std::to_string(options.volume_bytes_max)};
    }
    return create_segment(log_.files_, best.directory, base, options.segment_bytes);
}

void Preparer::prefault(LogOffset tail) {
    prefaulted_ = std::max(prefaulted_, tail);
    const LogOffset goal = tail + static_cast<std::int64_t>(log_.options_.prefault_bytes);
    while (prefaulted_ < goal) {
        const SegmentPtr segment = log_.segments_.find(prefaulted_);
        if (segment == nullptr || !segment->is_mapped() || is_stopping()) {
            return;
        }
        if (std::exchange(prefaulting_, segment->base()) != segment->base()) {
            fault_singly(segment->mapping());
        }
        const LogOffset to = std::min({prefaulted_ + kPrefaultStep, goal, segment->end()});
        // First, so that the memory given back is there for the pages taken now.
        drop_behind(to - prefaulted_);
        const auto from = static_cast<std::size_t>(bytes_between(segment->base(), prefaulted_));
        // Only speed is lost when it fails: the stores then fault the pages in.
        static_cast<void>(
            segment->mapping().populate_for_write(from, bytes_between(prefaulted_, to)));
        prefaulted_ = to;
    }
}

/// Twice as fast as pages are faulted in, so that it catches up after waiting for a flush.
void Preparer::drop_behind(std::int64_t bytes) {
    const auto kept = static_cast<std::int64_t>(log_.options_.cache_bytes);
    if (kept == 0) {
        return;
    }
    const LogOffset goal = std::min(dropped_ + 2 * bytes, log_.flushed() - kept);
    while (dropped_ < goal) {
        const SegmentPtr segment = log_.segments_.find(dropped_);
        const LogOffset to = segment != nullptr ? std::min(goal, segment->end()) : goal;
        if (segment != nullptr) {
            segment->drop_cached(dropped_, to);
        }
        dropped_ = to;
    }
}

void Preparer::arm(LogOffset tail) {
    std::int64_t at = (tail + static_cast<std::int64_t>(log_.options_.prefault_bytes / 2)).value;
    const SegmentPtr active = log_.segments_.find(tail);
    if (active != nullptr && log_.segments_.find(active->end()) == nullptr) {
        at = std::min(at, (active->base() + static_cast<std::int64_t>(active->bytes() / 2)).value);
    }
    log_.wake_preparer_at_.store(at, std::memory_order_relaxed);
}

}  // namespace gantry::storage
