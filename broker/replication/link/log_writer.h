// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "storage/store.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace gantry::broker {

/// Puts log bytes of a master into a slave's store, in a thread of its own that may wait for the
/// disk: everything that has come while it worked goes in as one batch, with one sync at its end
/// where the store flushes in sync mode.
///
///   put -> |piece|piece|piece| -> append_raw -> flush -> on_progress -> acknowledged
///
/// Threads   put, progress, reset: one, the loop's. Events come in the writer's.
/// Errors    kDiskFull is told once and tried again until there is room. Any other failure is told,
///           and what waits is dropped; so is what comes until reset().
/// Lifetime  the store outlives it.
class LogWriter {
public:
    /// Bytes that follow what was put before. `pin` keeps them.
    struct Piece {
        LogOffset at;
        Bytes bytes;
        std::shared_ptr<const void> pin;
        std::int64_t sent_at = 0;  ///< as the master says
    };

    /// How far it is.
    struct Progress {
        LogOffset received;        ///< appended
        LogOffset end;             ///< whole records, as durable as the store's mode asks
        std::int64_t sent_at = 0;  ///< of the newest piece taken in
        std::uint64_t waiting_bytes = 0;
        bool is_idle = true;
    };

    /// Called in the writer's thread: they post.
    struct Events {
        std::function<void()> on_progress;
        std::function<void(const Error&)> on_failed;
    };

    LogWriter(storage::Store& store, Events events);
    /// Takes in what was put, as far as that works without waiting for room, and ends.
    ~LogWriter();
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    /// Takes the next bytes. Any thread.
    void put(Piece piece);
    Progress progress() const;
    /// Takes bytes again after a failure.
    void reset();

private:
    using Batch = std::vector<Piece>;

    void run();
    bool take_batch(Batch& batch);
    bool append(const Piece& piece);
    void settle();
    bool is_stopping() const;
    bool wait_for_room();
    void fail(const Error& why);

    storage::Store& store_;
    const Events events_;
    mutable Mutex mutex_;
    std::condition_variable changed_;
    std::deque<Piece> waiting_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t waiting_bytes_ GANTRY_GUARDED_BY(mutex_) = 0;  ///< those being appended too
    std::int64_t sent_at_ GANTRY_GUARDED_BY(mutex_) = 0;
    bool is_busy_ GANTRY_GUARDED_BY(mutex_) = false;
    bool has_failed_ GANTRY_GUARDED_BY(mutex_) = false;
    bool is_stopping_ GANTRY_GUARDED_BY(mutex_) = false;
    std::thread thread_;
};

}  // namespace gantry::broker
