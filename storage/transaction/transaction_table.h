// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// A transaction without an outcome: its half message is stored, and nothing says what became of
/// it.
struct OpenTransaction {
    LogOffset half;            ///< of the half message; names the transaction
    QueueOffset queue_offset;  ///< of the half message in its queue
    WallMs store_ms = 0;
    WallMs asked_ms = 0;            ///< when a producer was asked last; 0: never
    std::int32_t asked = 0;         ///< how often
    std::int64_t immunity_ms = -1;  ///< the message's own time before the first question; -1: none
    std::string group;              ///< of producers
};

/// The open transactions, by log offset, and when the next thing is to be done about each.
///
///   half message stored -> open -> asked, asked ... -> close: a message that names the half, or a
///                                                       TransactionEnd in the state topic
///
/// All but the due times is a fold over the log. Those are the broker's: nothing is due after a
/// start until it says so.
///
/// Units     about 150 B of memory for one open transaction, none for those that ended.
/// Threads   any; one mutex inside.
class TransactionTable {
public:
    static constexpr WallMs kNever = INT64_MAX;

    /// Adds a transaction; one that is there already stays as it is.
    void open(const OpenTransaction& transaction);
    /// Ends it. False: it is not open.
    bool close(LogOffset half);
    /// Notes that a producer was asked at `at_ms`.
    void asked(LogOffset half, WallMs at_ms);

    /// The open transaction with that half message, or nothing.
    std::optional<OpenTransaction> find(LogOffset half) const;
    /// At most `count_max`, from log offset `from` on, in the order of the log.
    std::vector<OpenTransaction> list(LogOffset from, std::size_t count_max) const;
    std::size_t size() const;
    /// The one with the first half message in the log, or nothing.
    std::optional<OpenTransaction> oldest() const;

    /// Something is to be done about it at `due_ms`, and no longer when it was said before.
    void schedule(LogOffset half, WallMs due_ms);
    /// Takes out at most `count_max` of those due by `now_ms`, the longest due first; each has to
    /// be scheduled again.
    std::vector<OpenTransaction> take_due(WallMs now_ms, std::size_t count_max);
    /// When the first is due; kNever: none is.
    WallMs next_due() const;

    /// Adds everything to a snapshot.
    void save(wire::StateSnapshot& snapshot) const;
    /// Takes a snapshot's as the start. kCorrupt: a negative offset, a group that is not there.
    Status restore(const wire::StateSnapshot& snapshot);

private:
    using Groups = std::map<std::string, std::size_t, std::less<>>;  ///< to how many are open

    struct Entry {
        QueueOffset queue_offset;
        WallMs store_ms = 0;
        WallMs asked_ms = 0;
        WallMs due_ms = kNever;
        std::int64_t immunity_ms = -1;
        std::int32_t asked = 0;
        Groups::iterator group;
    };

    using Entries = std::map<LogOffset, Entry>;

    static OpenTransaction describe(const Entries::value_type& entry);
    void set_due(Entries::value_type& entry, WallMs due_ms) GANTRY_REQUIRES(mutex_);

    mutable Mutex mutex_;
    Entries entries_ GANTRY_GUARDED_BY(mutex_);
    Groups groups_ GANTRY_GUARDED_BY(mutex_);
    std::set<std::pair<WallMs, LogOffset>> due_ GANTRY_GUARDED_BY(mutex_);
};

}  // namespace gantry::storage
