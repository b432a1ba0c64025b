// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/log_writer.h"

#include "common/log.h"
#include "storage/replica/replica_log.h"

#include <chrono>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");
// At once: the first bytes of much are acknowledged before the last ones are in.
constexpr std::uint64_t kBatchBytes = std::uint64_t{8} << 20U;
constexpr std::chrono::milliseconds kRoomPause{200};
constexpr std::chrono::milliseconds kFlushStep{50};

}  // namespace

LogWriter::LogWriter(storage::Store& store, Events events)
    : store_(store), events_(std::move(events)), thread_([this] { run(); }) {}

LogWriter::~LogWriter() {
    {
        const MutexLock lock(mutex_);
        is_stopping_ = true;
        changed_.notify_all();
    }
    thread_.join();
}

void LogWriter::put(Piece piece) {
    const MutexLock lock(mutex_);
    if (has_failed_) {
        return;
    }
    waiting_bytes_ += piece.bytes.size();
    waiting_.push_back(std::move(piece));
    changed_.notify_all();
}

LogWriter::Progress LogWriter::progress() const {
    Progress now;
    const storage::Watermarks log = store_.watermarks();
    now.received = store_.replica().received();
    now.end = log.local;
    const MutexLock lock(mutex_);
    now.sent_at = sent_at_;
    now.waiting_bytes = waiting_bytes_;
    now.is_idle = waiting_.empty() && !is_busy_;
    return now;
}

void LogWriter::reset() {
    const MutexLock lock(mutex_);
    has_failed_ = false;
}

bool LogWriter::is_stopping() const {
    const MutexLock lock(mutex_);
    return is_stopping_;
}

bool LogWriter::take_batch(Batch& batch) {
    batch.clear();
    MutexLock lock(mutex_);
    is_busy_ = false;
    while (waiting_.empty()) {
        if (is_stopping_) {
            return false;
        }
        lock.wait(changed_);
    }
    is_busy_ = true;
    for (std::uint64_t bytes = 0; !waiting_.empty() && bytes < kBatchBytes;) {
        bytes += waiting_.front().bytes.size();
        batch.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
    }
    return true;
}

void LogWriter::run() {
    set_thread_name("replica-log");
    Batch batch;
    while (take_batch(batch)) {
        for (const Piece& piece : batch) {
            if (!append(piece)) {
                break;
            }
        }
        batch.clear();
        settle();
        {
            const MutexLock lock(mutex_);
            is_busy_ = false;
        }
        events_.on_progress();
    }
}

/// False: nothing of what follows can be appended.
bool LogWriter::append(const Piece& piece) {
    Status appended = store_.replica().append_raw(piece.at, piece.bytes);
    bool is_told = false;
    while (!appended &&
           (appended.error().code == Errc::kDiskFull || appended.error().code == Errc::kBusy)) {
        if (appended.error().code == Errc::kDiskFull && !std::exchange(is_told, true)) {
            kLog.warn("replica_log_waits_for_room", {{"reason", appended.error()}});
            events_.on_failed(appended.error());
        }
        if (!wait_for_room()) {
            return false;
        }
        // What of the piece went in stays in.
        const auto taken = static_cast<std::size_t>(store_.replica().received() - piece.at);
        appended =
            store_.replica().append_raw(store_.replica().received(), piece.bytes.subspan(taken));
    }
    if (!appended) {
        fail(appended.error());
        return false;
    }
    const MutexLock lock(mutex_);
    waiting_bytes_ -= piece.bytes.size();
    sent_at_ = piece.sent_at;
    return true;
}

/// False: it is told to end.
bool LogWriter::wait_for_room() {
    const auto until = std::chrono::steady_clock::now() + kRoomPause;
    MutexLock lock(mutex_);
    while (!is_stopping_ && std::chrono::steady_clock::now() < until) {
        static_cast<void>(lock.wait_until(changed_, until));
    }
    return !is_stopping_;
}

void LogWriter::fail(const Error& why) {
    {
        const MutexLock lock(mutex_);
        has_failed_ = true;
        waiting_.clear();
        waiting_bytes_ = 0;
    }
    events_.on_failed(why);
}

/// Sync mode: until the disk has what was appended. One sync for everything that has come so far.
void LogWriter::settle() {
    const LogOffset appended = store_.watermarks().appended;
    if (store_.watermarks().local >= appended) {
        return;
    }
    store_.flush_soon();
    while (!is_stopping()) {
        const Result<bool> is_settled =
            store_.wait_local(appended, std::chrono::steady_clock::now() + kFlushStep);
        if (!is_settled) {
            fail(is_settled.error());
        }
        if (!is_settled || *is_settled) {
            return;
        }
    }
}

}  // namespace gantry::broker
