// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "protocol/wire/state.pb.h"
#include "storage/replica/epochs.h"
#include "storage/store.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace gantry::storage {

/// Log bytes for a slave: [at, at + bytes.size()) or, where the segment is not mapped, to be read
/// from `run.fd`. Any cut is right: a slave puts records together.
struct LogPiece {
    LogRun run;             ///< memory or fd; the pin keeps it
    std::uint64_t sum = 0;  ///< XXH3-64 of the bytes
};

/// The store as one copy of a replicated log. A store is a leader's, which appends, or a
/// follower's, which takes the leader's bytes and otherwise appends nothing:
///
///   open (StoreOptions::is_follower) -> following --- lead() --> leading --- fence() --> fenced
///
/// A fenced store serves readers; to follow again it is closed, cut (store_cut.h) and opened anew.
/// A follower folds what it takes as a start does, so that topics, groups, offsets and every other
/// state are there at any time, and consumers can be served from it.
///
/// Threads   append_raw: one at a time, it waits for the disk when the next segment is not ready.
///           piece, seed: any, may wait for the disk. The rest: any, none blocks but lead.
/// Errors    append_raw, lead: those of an append. kCorrupt: the bytes are no continuation.
/// Lifetime  that of the store.
class ReplicaLog {
public:
    explicit ReplicaLog(Store::Parts& parts);
    /// For Store::open and close: takes up following; forgets what is not whole.
    Status open();
    Status close();
    ~ReplicaLog();
    ReplicaLog(const ReplicaLog&) = delete;
    ReplicaLog& operator=(const ReplicaLog&) = delete;

    /// What it does with its log.
    enum class Role : std::uint8_t { kFollowing, kLeading, kFenced };

    Role role() const noexcept;
    /// What the log says of its history, as far as it is appended.
    EpochList epochs() const;

    /// Takes the next bytes of the leader's log, from received() on: whole records are folded,
    /// indexed and published, those that were stored in one step together; the rest waits for what
    /// follows. `at` may be the watermark appended too: what waits goes then, and comes anew.
    /// kConflict: `at` is neither, or the store does not follow. kCorrupt: nothing of the record
    /// that is wrong is published, and received() is the watermark appended. kDiskFull, kBusy: go
    /// on at received() later; no bytes are needed for that.
    Status append_raw(LogOffset at, Bytes bytes);
    /// Where the next raw bytes go: the watermark appended, or behind what waits to be whole. Say
    /// `appended` to a leader, not this: bytes that wait may be of no epoch of its log.
    LogOffset received() const noexcept;

    /// Follower to leader: drops the record that is not whole, appends the record that starts the
    /// epoch, and syncs it. Appends are taken from then on. Returns the place of that record.
    /// kConflict: the log knows this epoch or a newer one. Also for a store opened as a leader's.
    Result<Appended> lead(const wire::EpochPut& epoch);
    /// Ends the right to append for good: appends get kReadOnly with `why`, and everybody who waits
    /// for an acknowledgement gets kUnknown.
    void fence(std::string why);

    /// How far the in-sync set has the log: what readers see, acknowledgements wait for and
    /// checkpoints cover ends there. Never moves back. Starts at 0 where
    /// StoreOptions::is_replicated is set, else at the end of all offsets.
    void confirm(LogOffset to);

    /// A piece of the appended log from `at`, at most `bytes_max`, within one segment, with its
    /// sum. Empty run: `at` is the end. kNotFound: below the first offset, or above the end.
    /// kCorrupt: the byte at `at` is quarantined, or what the disk gives is not what was written:
    /// no copy gets these bytes until they are repaired.
    Result<LogPiece> piece(LogOffset at, std::uint64_t bytes_max) const;

    /// Whether an empty follower has to be planted (seed.h): bytes alone do not tell all.
    bool needs_seed() const;
    /// See make_seed.
    Result<wire::StoreSeed> seed() const;

    /// For checkpoints: no unit in the consume queues ends above it.
    LogOffset placed_end() const noexcept;
    /// For checkpoints: what is in memory must not be written down. ReplicaLog::append_raw said
    /// why.
    bool is_broken() const noexcept;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace gantry::storage
