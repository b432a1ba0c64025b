// SPDX-License-Identifier: Apache-2.0
#include "storage/repair/mender.h"

#include "common/failpoint/failpoint.h"
#include "common/log.h"
#include "storage/log/log_reader.h"
#include "storage/repair/mended_units.h"
#include "storage/repair/range_mend.h"

#include <algorithm>
#include <utility>

namespace gantry::storage {
namespace {

constexpr Logger kLog("storage");

/// Lost ranges from record to record: those that touch one another are one, since the beginning of
/// one may be the middle of a record.
LostRangeList joined(const LostRangeList& lost) {
    LostRangeList areas;
    for (const LostRange& range : lost) {
        if (!areas.empty() && areas.back().to == range.from) {
            areas.back().to = range.to;
            areas.back().messages += range.messages;
        } else {
            areas.push_back(range);
        }
    }
    return areas;
}

}  // namespace

Mender::Mender(Store::Parts& parts)
    : parts_(parts),
      ranges_(parts.metrics.counter("gantry_store_repaired_ranges_total",
                                    "Lost pieces of the log taken from another copy")),
      blocks_(parts.metrics.counter("gantry_store_repaired_blocks_total",
                                    "Blocks of the log with bytes from another copy")),
      bytes_(parts.metrics.counter("gantry_store_repaired_bytes_total",
                                   "Bytes of the log taken from another copy")),
      failures_(parts.metrics.counter("gantry_store_repair_failures_total",
                                      "Attempts to repair that no copy could serve")) {}

Mender::~Mender() {
    stop();
}

void Mender::set_source(std::shared_ptr<ReplicaSource> source) {
    const MutexLock lock(mutex_);
    if (source_ != nullptr) {
        source_->cancel();
    }
    source_ = std::move(source);
    if (source_ != nullptr && is_stopping_.load()) {
        source_->cancel();
    } else if (source_ != nullptr && !thread_.joinable()) {
        start();
    }
    is_woken_ = true;
    woken_.notify_all();
}

void Mender::start() {
    thread_ = std::thread([this] {
        set_thread_name("repair");
        work();
    });
}

void Mender::wake() {
    const MutexLock lock(mutex_);
    is_woken_ = true;
    woken_.notify_all();
}

void Mender::stop() {
    std::thread thread;
    {
        const MutexLock lock(mutex_);
        is_stopping_.store(true);
        if (source_ != nullptr) {
            source_->cancel();
        }
        woken_.notify_all();
        thread = std::move(thread_);
    }
    if (thread.joinable()) {
        thread.join();
    }
}

void Mender::work() {
    SteadyTime::duration retry = kRetryMin;
    while (!is_stopping_.load()) {
        const Result<MendReport> report = run();
        const bool is_waiting = report && report->failures > 0;
        const SteadyTime again = parts_.clock.steady() + retry;
        retry = is_waiting ? std::min<SteadyTime::duration>(2 * retry, kRetryMax) : kRetryMin;
        MutexLock lock(mutex_);
        while (!is_stopping_.load() && !is_woken_ &&
               !(is_waiting && parts_.clock.steady() >= again)) {
            if (is_waiting) {
                lock.wait_until(woken_, again);
            } else {
                lock.wait(woken_);
            }
        }
        if (std::exchange(is_woken_, false)) {
            retry = kRetryMin;
        }
    }
}

Result<MendReport> Mender::run() {
    const MutexLock pass(pass_mutex_);
    std::shared_ptr<ReplicaSource> source;
    {
        const MutexLock lock(mutex_);
        source = source_;
    }
    if (is_stopping_.load()) {
        return Error{Errc::kClosed, "the store is closing"};
    }
    if (source == nullptr) {
        return Error{Errc::kNotFound, "there is no other copy to repair from"};
    }
    MendReport report;
    mend_all(*source, report);
    return report;
}

void Mender::mend_all(ReplicaSource& source, MendReport& report) {
    if (parts_.lost->empty()) {
        return;
    }
    const LogOffset first = parts_.log->first();
    for (const LostRange& area : joined(*parts_.lost->snapshot())) {
        if (area.to <= first) {
            continue;  // deleted
        }
        if (is_stopping_.load()) {
            ++report.failures;
            return;
        }
        const Status mended = mend(source, area, report);
        if (mended) {
            ++report.ranges;
            ranges_.add();
            kLog.info(
                "log repaired from another copy",
                {{"from", area.from.value}, {"to", area.to.value}, {"messages", area.messages}});
            continue;
        }
        ++report.failures;
        report.why = mended.error().detail;
        failures_.add();
        kLog.warn("log not repaired",
                  {{"from", area.from.value}, {"to", area.to.value}, {"reason", mended.error()}});
    }
}

Status Mender::mend(ReplicaSource& source, const LostRange& area, MendReport& report) {
    LostRange kept = area;
    kept.from = std::max(area.from, parts_.log->first());
    GANTRY_TRY(mend_from_any(source, kept, report));
    MendedUnits units(parts_);
    GANTRY_TRY(units.restore(record_start(kept.from), kept.to));
    if (units.restored() > 0) {
        // What the queues know of it must not be less durable than that it is not lost.
        GANTRY_TRY(parts_.checkpointer->write());
    }
    GANTRY_FAILPOINT_TRY("mend.units");
    if (parts_.cold != nullptr) {
        parts_.cold->forget_chunks();
    }
    GANTRY_TRY(parts_.lost->remove(area.from, area.to));
    GANTRY_FAILPOINT("mend.done");
    if (units.behind_end() > 0) {
        kLog.error(
            "repaired messages are behind the ends of their queues: with consumequeue "
            "deleted, the next start rebuilds those",
            {{"messages", units.behind_end()}});
    }
    return ok();
}

Status Mender::mend_from_any(ReplicaSource& source, const LostRange& area, MendReport& report) {
    const std::size_t copies = source.copies();
    Error last{Errc::kNotFound, "no other copy can be asked now"};
    // A file that was too short may have ended inside a record.
    const LogOffset from = record_start(area.from);
    for (std::size_t copy = 0; copy < copies; ++copy) {
        RangeMend range(parts_, source, {from, area.to, copy});
        Status mended = range.run();
        if (mended) {
            report.blocks += range.blocks();
            report.bytes += range.bytes();
            blocks_.add(range.blocks());
            bytes_.add(range.bytes());
            return ok();
        }
        if (is_stopping_.load() || mended.error().code == Errc::kBusy) {
            return mended;
        }
        last = std::move(mended).error();
    }
    return last;
}

/// `at`, unless a record of the block before reaches over it: then where that begins.
LogOffset Mender::record_start(LogOffset at) const {
    const SegmentPtr here = parts_.log->segments().find(at);
    const SegmentPtr before =
        at > LogOffset(0) ? parts_.log->segments().find(at - 1) : SegmentPtr();
    if (before == nullptr || before == here || before->bytes() >= parts_.options.segment_bytes) {
        return at;
    }
    LogReader reader(parts_.log->segments());
    LogOffset start = before->base();
    while (start < at) {
        const Result<LogEntry> entry = reader.read(start);
        if (!entry || entry->end <= start || entry->end > at) {
            return start;
        }
        start = entry->end;
    }
    return at;
}

}  // namespace gantry::storage
