// SPDX-License-Identifier: Apache-2.0
#include "storage/log/flusher.h"

#include "common/failpoint/failpoint.h"
#include "storage/log/commit_log.h"

#include <chrono>

namespace gantry::storage {

Flusher::Flusher(CommitLog& log, MetricRegistry& metrics)
    : log_(log),
      flushes_(metrics.counter("gantry_store_flushes_total", "Syncs of the log")),
      flush_microseconds_(metrics.counter("gantry_store_flush_microseconds_total",
                                          "Time spent in syncs of the log")) {}

void Flusher::start() {
    wake_after(log_.appended());
    thread_ = std::thread([this] {
        set_thread_name("log-flush");
        run();
    });
}

void Flusher::wake() {
    // One wake-up is enough until the thread has looked: callers pay the lock once a sync.
    if (!is_asked_.exchange(true, std::memory_order_acq_rel)) {
        const MutexLock lock(mutex_);
        woken_.notify_one();
    }
}

void Flusher::stop() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        woken_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

void Flusher::run() {
    bool goes_on = true;
    while (goes_on) {
        goes_on = wait();
        if (!flush()) {
            return;
        }
    }
}

bool Flusher::wait() {
    const auto deadline = std::chrono::steady_clock::now() +
                          std::chrono::milliseconds(log_.options_.flush_interval_ms);
    MutexLock lock(mutex_);
    while (!is_stopping_ && !is_asked_.load(std::memory_order_acquire) &&
           lock.wait_until(woken_, deadline)) {
    }
    // Before the end of the log is read: what is appended later asks again.
    is_asked_.exchange(false, std::memory_order_acq_rel);
    return !is_stopping_;
}

bool Flusher::flush() {
    if (log_.is_poisoned()) {
        return false;
    }
    const LogOffset from = log_.flushed();
    const LogOffset to = log_.appended();
    if (from != to) {
        const auto begin = std::chrono::steady_clock::now();
        if (const Status synced = sync_range(from, to); !synced) {
            log_.poison(synced.error());
            return false;
        }
        GANTRY_FAILPOINT("flush.after_sync");
        const auto took = std::chrono::steady_clock::now() - begin;
        flushes_.add();
        flush_microseconds_.add(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
        log_.flushed_to(to);
        log_.add_sums(from, to);
        GANTRY_FAILPOINT("flush.after_sums");
    }
    wake_after(to);
    return true;
}

void Flusher::wake_after(LogOffset flushed) {
    const auto dirty_bytes_max = static_cast<std::int64_t>(log_.options_.flush_bytes);
    log_.wake_flusher_at_.store((flushed + dirty_bytes_max).value, std::memory_order_relaxed);
}

Status Flusher::sync_range(LogOffset from, LogOffset to) {
    const auto list = log_.segments_.snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() > from && segment->base() < to) {
            GANTRY_FAILPOINT_TRY("flush.before_sync");
            GANTRY_TRY(segment->file().sync_data());
        }
    }
    return ok();
}

}  // namespace gantry::storage
