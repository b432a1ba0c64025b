// SPDX-License-Identifier: Apache-2.0
#include "storage/replica/raw_append.h"

#include "storage/log/commit_log.h"
#include "storage/log/flusher.h"
#include "storage/log/preparer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

Result<RawAppend::Room> RawAppend::room(LogOffset at) {
    const auto deadline = std::chrono::steady_clock::now() + CommitLog::kSegmentWaitMax;
    const auto room_in = [at](const SegmentPtr& segment) {
        const auto inside = static_cast<std::size_t>(bytes_between(segment->base(), at));
        return Room{segment, segment->mapping().bytes().subspan(inside)};
    };
    for (bool has_waited = false;; has_waited = true) {
        {
            MutexLock lock(log_.mutex_);
            if (log_.stopped_) {
                return *log_.stopped_;
            }
            if (log_.active_ != nullptr && at < log_.active_->end()) {
                return room_in(log_.active_);
            }
            if (log_.next_ != nullptr) {
                if (at >= log_.next_->end()) {
                    return Error{Errc::kCorrupt,
                                 "the segment at log offset " +
                                     std::to_string(log_.next_->base().value) +
                                     " of the leader's log has no record"};
                }
                return room_in(log_.next_);
            }
            if (log_.next_error_) {
                return *log_.next_error_;
            }
            log_.is_next_wanted_ = true;
            if (has_waited && !lock.wait_until(log_.next_changed_, deadline)) {
                return Error{Errc::kBusy,
                             "the next segment was not ready in " +
                                 std::to_string(CommitLog::kSegmentWaitMax.count()) + " ms"};
            }
        }
        if (!has_waited) {
            log_.segment_waits_.add();
            log_.preparer_->wake();
        }
    }
}

void RawAppend::publish(LogOffset end, WallMs store_ms) {
    {
        const MutexLock lock(log_.mutex_);
        if (log_.active_ == nullptr || end > log_.active_->end()) {
            log_.active_ = std::move(log_.next_);
            log_.numbers_->prepared_segments.store(0, std::memory_order_relaxed);
            log_.wake_preparer_at_.store(0, std::memory_order_relaxed);
        }
        log_.tail_ = end;
        log_.last_store_ms_ = std::max(log_.last_store_ms_, store_ms);
    }
    log_.numbers_->appended.store(end.value, std::memory_order_release);
    Reservation published;
    published.end = end;
    log_.after_publish(published);
}

void RawAppend::tell() {
    log_.report_progress();
}

Status RawAppend::wipe(LogOffset to) {
    std::vector<SegmentPtr> touched;
    {
        const MutexLock lock(log_.mutex_);
        for (const SegmentPtr& segment : {log_.active_, log_.next_}) {
            if (segment == nullptr || segment->end() <= log_.tail_ || segment->base() >= to) {
                continue;
            }
            const LogOffset begin = std::max(log_.tail_, segment->base());
            const LogOffset end = std::min(to, segment->end());
            std::memset(segment->memory(begin), 0, bytes_between(begin, end));
            touched.push_back(segment);
        }
    }
    for (const SegmentPtr& segment : touched) {
        if (const Status synced = segment->file().sync_data(); !synced) {
            log_.poison(synced.error());
            return Error{Errc::kReadOnly, synced.error().detail};
        }
    }
    return ok();
}

WallMs RawAppend::store_ms() const {
    const MutexLock lock(log_.mutex_);
    return std::max(log_.last_store_ms_, log_.clock_.wall_ms());
}

}  // namespace gantry::storage
