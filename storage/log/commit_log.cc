// SPDX-License-Identifier: Apache-2.0
#include "storage/log/commit_log.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/log/flusher.h"
#include "storage/log/log_cut.h"
#include "storage/log/log_volumes.h"
#include "storage/log/preparer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

/// Turns of spinning on an appender before this one gives its processor away.
constexpr int kSpinsMax = 64;

void pause_briefly() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void write_blank(const BlankTail& blank) noexcept {
    store_be<std::uint32_t>(blank.memory, blank.bytes);
    store_be<std::uint32_t>(blank.memory + 4, wire::kMagicBlank);
}

}  // namespace

Result<std::unique_ptr<CommitLog>> CommitLog::open(FileSystem& files,
                                                   Clock& clock,
                                                   MetricRegistry& metrics,
                                                   const StoreOptions& options) {
    std::unique_ptr<CommitLog> log(new CommitLog(files, clock, metrics, options));
    GANTRY_ASSIGN_OR_RETURN(
        log->directories_, open_log_directories(files, options.directory, options.log_directories));
    GANTRY_TRY(log->sums_.open());
    GANTRY_TRY(files.sync_directory(options.directory));
    GANTRY_ASSIGN_OR_RETURN(SegmentList list, open_segments(files, log->directories_));
    if (!list.empty()) {
        log->numbers_->first.store(list.front()->base().value, std::memory_order_release);
    }
    log->segments_.assign(std::move(list));
    log->add_volume_gauges(metrics);
    return log;
}

CommitLog::CommitLog(FileSystem& files,
                     Clock& clock,
                     MetricRegistry& metrics,
                     const StoreOptions& options)
    : files_(files),
      clock_(clock),
      options_(options),
      sums_(files, options.directory / "checksum"),
      confirm_(options.is_replicated ? 0 : INT64_MAX),
      segment_waits_(metrics.counter("gantry_store_segment_waits_total",
                                     "Appends that waited for the next segment")),
      preparer_(std::make_unique<Preparer>(*this)),
      flusher_(std::make_unique<Flusher>(*this, metrics)) {
    register_metrics(metrics);
}

CommitLog::~CommitLog() {
    static_cast<void>(close());
}

void CommitLog::register_metrics(MetricRegistry& metrics) {
    const auto gauge = [&](const char* name, const char* help, auto member) {
        metrics.gauge(name, help, [numbers = numbers_, member] {
            return static_cast<double>((*numbers.*member).load(std::memory_order_relaxed));
        });
    };
    gauge("gantry_store_first_offset_bytes", "First byte of the log", &LogNumbers::first);
    gauge("gantry_store_flushed_offset_bytes", "Log bytes that are durable", &LogNumbers::flushed);
    gauge("gantry_store_appended_offset_bytes", "End of the log", &LogNumbers::appended);
    gauge("gantry_store_disk_free_bytes",
          "Free bytes on the volume of the log, of several the most",
          &LogNumbers::free_bytes);
    gauge("gantry_store_prepared_segments",
          "Segments ready beyond the active one",
          &LogNumbers::prepared_segments);
    gauge("gantry_store_writable", "1 while appends are taken", &LogNumbers::is_writable);
}

Status CommitLog::start(LogOffset tail, std::optional<LogOffset> unclean_from) {
    GANTRY_TRY(cut_at(tail, unclean_from));
    const LogOffset hot_from = tail - static_cast<std::int64_t>(options_.hot_bytes);
    SegmentList opened;
    SegmentPtr active;
    const auto list = segments_.snapshot();
    for (const SegmentPtr& segment : *list) {
        const bool is_active = segment->end() > tail;
        if (is_active) {
            // A store made elsewhere may be sparse: a store into a hole can end the process.
            GANTRY_TRY(segment->file().allocate(segment->bytes()));
        }
        if (!is_active && segment->end() <= hot_from) {
            opened.push_back(segment);
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(SegmentPtr mapped, segment->mapped());
        active = is_active ? mapped : active;
        opened.push_back(std::move(mapped));
    }
    const LogOffset first = opened.empty() ? tail : opened.front()->base();
    segments_.assign(std::move(opened));
    numbers_->first.store(first.value, std::memory_order_release);
    numbers_->flushed.store(tail.value, std::memory_order_release);
    numbers_->appended.store(tail.value, std::memory_order_release);
    {
        const MutexLock lock(mutex_);
        tail_ = tail;
        active_ = std::move(active);
    }
    preparer_->work();
    preparer_->start();
    flusher_->start();
    return ok();
}

Status CommitLog::cut_at(LogOffset tail, std::optional<LogOffset> unclean_from) {
    if (unclean_from) {
        GANTRY_TRY(sums_.cut(tail));
        GANTRY_FAILPOINT_TRY("cut.sums");
    }
    SegmentList kept = *segments_.snapshot();
    GANTRY_TRY(remove_segments(files_, tail, kept));
    if (unclean_from) {
        GANTRY_TRY(clear_behind(tail, options_.segment_bytes, kept));
        for (const SegmentPtr& segment : kept) {
            if (segment->end() > *unclean_from) {
                GANTRY_TRY(segment->file().sync_data());
            }
        }
        GANTRY_FAILPOINT_TRY("cut.synced");
    }
    segments_.assign(std::move(kept));
    if (unclean_from) {
        add_sums(*unclean_from, tail);
    }
    return ok();
}

Result<Reservation> CommitLog::reserve(std::uint64_t bytes,
                                       QueueIndex& queue,
                                       std::uint32_t count) {
    Reservation reserved;
    reserved.queue = &queue;
    reserved.count = count;
    for (;;) {
        bool has_queue_room = false;
        {
            const MutexLock lock(mutex_);
            has_queue_room = queue.has_room(count);
            if (has_queue_room && take_room(bytes, reserved)) {
                reserved.queue_offset = queue.reserve(count);
                return reserved;
            }
        }
        if (has_queue_room) {
            GANTRY_TRY(wait_for_segment(bytes));
        } else {
            GANTRY_TRY(queue.ensure_room(count));
        }
    }
}

void CommitLog::publish(const Reservation& reserved) {
    finish_before(reserved);
    reserved.queue->publish(reserved.queue_offset + reserved.count);
    numbers_->appended.store(reserved.end.value, std::memory_order_release);
    after_publish(reserved);
}

bool CommitLog::take_room(std::uint64_t bytes, Reservation& reserved) {
    if (stopped_ || refused_) {
        return false;
    }
    reserved.from = tail_;
    if (active_ == nullptr || bytes + wire::kBlankBytes > bytes_between(tail_, active_->end())) {
        if (bytes + wire::kBlankBytes > options_.segment_bytes || !roll(reserved)) {
            return false;
        }
    }
    reserved.first = tail_;
    reserved.end = tail_ + static_cast<std::int64_t>(bytes);
    reserved.memory = active_->memory(tail_);
    last_store_ms_ = std::max(last_store_ms_, clock_.wall_ms());
    reserved.store_ms = last_store_ms_;
    tail_ = reserved.end;
    return true;
}

bool CommitLog::roll(Reservation& reserved) {
    if (next_ == nullptr) {
        return false;
    }
    if (active_ != nullptr) {
        reserved.blank.bytes = static_cast<std::uint32_t>(bytes_between(tail_, active_->end()));
        reserved.blank.memory = active_->memory(tail_);
    }
    active_ = std::move(next_);
    tail_ = active_->base();
    numbers_->prepared_segments.store(0, std::memory_order_relaxed);
    wake_preparer_at_.store(0, std::memory_order_relaxed);
    return true;
}

Status CommitLog::wait_for_segment(std::uint64_t bytes) {
    if (bytes + wire::kBlankBytes > options_.segment_bytes) {
        return Error{Errc::kRefused,
                     "records of " + std::to_string(bytes) + " B do not fit in a segment of " +
                         std::to_string(options_.segment_bytes) + " B (store.segment_bytes)"};
    }
    const auto deadline = std::chrono::steady_clock::now() + kSegmentWaitMax;
    bool has_waited = false;
    for (;;) {
        {
            MutexLock lock(mutex_);
            if (stopped_ || refused_) {
                return stopped_ ? *stopped_ : *refused_;
            }
            if (next_ != nullptr) {
                return ok();
            }
            is_next_wanted_ = true;
            if (next_error_) {
                return *next_error_;
            }
            if (has_waited && !lock.wait_until(next_changed_, deadline)) {
                return Error{Errc::kBusy,
                             "the next segment was not ready in " +
                                 std::to_string(kSegmentWaitMax.count()) + " ms"};
            }
        }
        if (!std::exchange(has_waited, true)) {
            segment_waits_.add();
            preparer_->wake();
        }
    }
}

void CommitLog::finish_before(const Reservation& reserved) {
    if (reserved.blank.memory != nullptr) {
        write_blank(reserved.blank);
        GANTRY_FAILPOINT("append.rolled");
    }
    int spins = 0;
    while (numbers_->appended.load(std::memory_order_acquire) != reserved.from.value) {
        if (++spins < kSpinsMax) {
            pause_briefly();
        } else {
            std::this_thread::yield();
        }
    }
}

void CommitLog::after_publish(const Reservation& reserved) {
    if (reserved.end.value >= wake_preparer_at_.load(std::memory_order_relaxed)) {
        wake_preparer_at_.store(INT64_MAX, std::memory_order_relaxed);
        preparer_->wake();
    }
    if (reserved.end.value >= wake_flusher_at_.load(std::memory_order_relaxed)) {
        wake_flusher_at_.store(INT64_MAX, std::memory_order_relaxed);
        flusher_->wake();
    }
}

void CommitLog::flush_soon() {
    flusher_->wake();
}

Watermarks CommitLog::watermarks() const noexcept {
    Watermarks now;
    // In this order, so that first <= flushed <= appended holds in what is returned.
    now.first = first();
    now.flushed = flushed();
    now.appended = appended();
    now.local = options_.flush == FlushMode::kSync ? now.flushed : now.appended;
    now.confirmed = std::min(now.local, LogOffset(confirm_.load(std::memory_order_acquire)));
    return now;
}

void CommitLog::confirm(LogOffset to) {
    const LogOffset before = watermarks().confirmed;
    std::int64_t known = confirm_.load(std::memory_order_relaxed);
    while (known < to.value &&
           !confirm_.compare_exchange_weak(known, to.value, std::memory_order_acq_rel)) {
    }
    if (watermarks().confirmed > before) {
        report_progress();
    }
}

void CommitLog::refuse_appends(std::optional<Error> why) {
    {
        const MutexLock lock(mutex_);
        refused_ = std::move(why);
        next_changed_.notify_all();
    }
    report_progress();
}

void CommitLog::set_epochs(EpochList epochs) {
    const MutexLock lock(mutex_);
    epochs_ = std::move(epochs);
}

void CommitLog::begin_at(LogOffset first) {
    numbers_->first.store(first.value, std::memory_order_release);
}

std::string CommitLog::read_only_reason() const {
    const MutexLock lock(mutex_);
    return stopped_ ? stopped_->detail : refused_ ? refused_->detail : std::string();
}

void CommitLog::on_progress(std::function<void()> on_progress) {
    const MutexLock lock(progress_mutex_);
    on_progress_ = std::move(on_progress);
}

Result<std::size_t> CommitLog::copy(LogOffset at, MutableBytes into) const {
    return read_log(segments_, at, into);
}

Status CommitLog::wait_flushed(LogOffset at) {
    flush_soon();
    MutexLock lock(progress_mutex_);
    while (flushed() < at) {
        {
            const MutexLock stopping(mutex_);
            if (stopped_) {
                return Error{Errc::kReadOnly, stopped_->detail};
            }
        }
        static_cast<void>(
            lock.wait_until(progressed_, std::chrono::steady_clock::now() + kSegmentWaitMax));
    }
    return ok();
}

Result<bool> CommitLog::wait_flushed_until(LogOffset at, SteadyTime deadline) const {
    MutexLock lock(progress_mutex_);
    while (flushed() < at) {
        if (is_poisoned()) {
            return Error{Errc::kReadOnly, read_only_reason()};
        }
        if (!lock.wait_until(progressed_, deadline)) {
            return flushed() >= at;
        }
    }
    return true;
}

Status CommitLog::close() {
    std::optional<Error> before;
    LogOffset tail;
    {
        const MutexLock lock(mutex_);
        if (stopped_ && stopped_->code == Errc::kClosed) {
            return ok();
        }
        before = std::exchange(stopped_, Error{Errc::kClosed, "the store is closed"});
        tail = tail_;
        numbers_->is_writable.store(false, std::memory_order_relaxed);
        next_changed_.notify_all();
    }
    while (appended() != tail) {
        std::this_thread::yield();
    }
    flusher_->stop();
    preparer_->stop();
    if (before) {
        return *before;
    }
    return flushed() == tail ? ok() : Status(Error{Errc::kReadOnly, "the last sync failed"});
}

LogOffset CommitLog::next_base() const {
    const MutexLock lock(mutex_);
    return active_ != nullptr ? active_->end() : tail_;
}

bool CommitLog::needs_next() const {
    const MutexLock lock(mutex_);
    if (stopped_ || next_ != nullptr) {
        return false;
    }
    return is_next_wanted_ || active_ == nullptr ||
           bytes_between(active_->base(), tail_) >= active_->bytes() / 2 ||
           bytes_between(tail_, active_->end()) < options_.record_bytes_max;
}

void CommitLog::install_next(Result<SegmentPtr> made) {
    if (made) {
        segments_.add(*made);
    }
    const MutexLock lock(mutex_);
    if (made) {
        next_ = std::move(made).value();
        next_error_.reset();
        is_next_wanted_ = false;
        numbers_->prepared_segments.store(1, std::memory_order_relaxed);
    } else {
        next_error_ = std::move(made).error();
    }
    next_changed_.notify_all();
}

void CommitLog::retire_cold_segments() {
    const LogOffset hot_from = appended() - static_cast<std::int64_t>(options_.hot_bytes);
    const auto list = segments_.snapshot();
    for (const SegmentPtr& segment : *list) {
        if (segment->end() > hot_from) {
            return;
        }
        if (segment->is_mapped()) {
            segments_.replace(segment->unmapped());
        }
    }
}

void CommitLog::flushed_to(LogOffset at) {
    numbers_->flushed.store(at.value, std::memory_order_release);
    GANTRY_FAILPOINT("flush.published");
    report_progress();
}

void CommitLog::add_sums(LogOffset from, LogOffset to) {
    const auto list = segments_.snapshot();
    EpochList epochs;
    {
        const MutexLock lock(mutex_);
        epochs = epochs_;
    }
    for (const SegmentPtr& segment : *list) {
        const LogOffset begin = std::max(from, segment->base());
        const LogOffset end = std::min(to, segment->end());
        if (begin >= end) {
            continue;
        }
        const Status added = sums_.add(*segment, begin, end, epochs);
        if (!added && !std::exchange(is_missing_sums_, true)) {
            kLog.warn("checksums of the log are incomplete", {{"reason", added.error()}});
        }
    }
}

void CommitLog::poison(const Error& why) {
    kLog.error("log became read-only", {{"reason", why}});
    is_poisoned_.store(true, std::memory_order_release);
    {
        const MutexLock lock(mutex_);
        if (!stopped_) {
            stopped_ = Error{Errc::kReadOnly, "the log takes no writes: " + why.detail};
        }
        numbers_->is_writable.store(false, std::memory_order_relaxed);
        next_changed_.notify_all();
    }
    report_progress();
}

void CommitLog::report_progress() {
    std::function<void()> report;
    {
        const MutexLock lock(progress_mutex_);
        report = on_progress_;
        progressed_.notify_all();
    }
    if (report) {
        report();
    }
}

}  // namespace gantry::storage
