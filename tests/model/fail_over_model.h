// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gantry::model {

inline constexpr std::size_t kMembers = 3;
inline constexpr std::size_t kLogMax = 8;
inline constexpr std::size_t kRequestsMax = 3;

/// How large a world is looked at.
struct Bounds {
    std::uint8_t records = 1;  ///< of producers, in any one log
    std::uint8_t epochs = 2;   ///< the first is there at the start; records + epochs <= kLogMax
    std::uint8_t swaps = 3;    ///< requests to the register, elections included
    std::uint8_t crashes = 1;  ///< processes that lose their memory and what was not synced
    std::uint8_t wipes = 0;    ///< disks that are replaced by empty ones
    bool async_flush = false;  ///< copies count before they are synced; an unclean stop renews
                               ///< the storage id
};

/// A rule of the protocol that is left out, as somebody might.
enum class Mistake : std::uint8_t {
    kNone,
    kJoinBeforeEpochStart,  ///< a copy joins when it has what is confirmed, no more
    kConfirmedGoesBack,     ///< confirmed is computed anew whenever an end is heard of
    kPendingNotCounted,     ///< a copy counts only when its join is known to have happened
    kPendingWithoutDisk,    ///< a join that is pending counts the member, whatever disk it has
    kUnknownSwapRead,       ///< whether a swap happened is looked up
    kShrinkBeforeSwap,      ///< a copy stops counting when its leaving is asked for
    kAckBeforeFlush,        ///< sync flush, but what is in memory counts
    kUncleanStopKeepsId,    ///< async flush, and an unclean stop keeps the storage id
    kNoStorageId,           ///< a new disk keeps the place of the old one
    kOlderEpochAccepted,    ///< a follower takes frames of a master it has left
    kNoCutOnRejoin,         ///< a follower keeps its tail and appends to it
    kElectedOutsideSet,     ///< whoever lives may become master
};

/// One copy of the log and the broker that keeps it. Bytes only: states are compared as memory.
struct Member {
    std::array<std::uint8_t, kLogMax> log;  ///< epoch of each record; 0 behind the end
    std::uint8_t end;
    std::uint8_t synced;
    std::uint8_t storage;    ///< id of its disk
    std::uint8_t epoch;      ///< that it has promised to obey
    std::uint8_t is_linked;  ///< follows the master of `epoch`, handshake done
    std::uint8_t swap;       ///< Swap
    std::uint8_t is_master;
    // What follows is of a master only, else 0.
    std::uint8_t confirmed;
    std::uint8_t start;    ///< offset of the record that began its epoch
    std::uint8_t members;  ///< bit set: the in-sync set as last known
    std::uint8_t pending;  ///< bit set: joins that were sent
    std::uint8_t revision;
    std::array<std::uint8_t, kMembers> member_storage;
    std::array<std::uint8_t, kMembers> pending_storage;
    std::array<std::uint8_t, kMembers> known;  ///< ends it was told of
    std::array<std::uint8_t, kMembers> known_storage;
};

enum Swap : std::uint8_t { kSwapNone, kSwapWaiting, kSwapUnknown };

/// What the group agreed on.
struct Group {
    std::uint8_t epoch;
    std::uint8_t master;
    std::uint8_t members;
    std::array<std::uint8_t, kMembers> storage;
};

/// A compare-and-swap on its way to the register or back.
struct Request {
    std::uint8_t phase;  ///< Phase
    std::uint8_t sender;
    std::uint8_t is_orphan;  ///< nobody waits for the answer any more
    std::uint8_t expected;   ///< revision
    Group value;
};

enum Phase : std::uint8_t { kEmpty, kSent, kApplied, kRefused };

/// The whole world at one moment.
struct State {
    std::array<Member, kMembers> members;
    Group group;
    std::uint8_t revision;
    std::array<Request, kRequestsMax> requests;
    /// For the checks: what was ever confirmed, by offset, and which member did so in each epoch
    /// (its index + 1).
    std::array<std::uint8_t, kLogMax> confirmed;
    std::array<std::uint8_t, kLogMax> confirmer;
    std::uint8_t swaps;  ///< spent so far, as the next two
    std::uint8_t crashes;
    std::uint8_t wipes;
    std::uint8_t has_gone_back;    ///< some confirmed offset did
    std::uint8_t has_two_records;  ///< two different ones were confirmed at one offset
    std::uint8_t has_two_masters;  ///< that confirmed in one epoch
};

enum class Step : std::uint8_t {
    kAppend,
    kSync,
    kCopy,
    kAcknowledge,
    kHandshake,
    kObserve,
    kElect,
    kExpand,
    kShrink,
    kResolve,
    kApply,
    kAnswer,
    kLose,
    kCrash,
    kWipe,
};

/// Something that may happen: the step, the member or request, and what the step needs to know.
struct Action {
    Step step;
    std::uint8_t subject;
    std::uint8_t with;
};

/// The fail-over protocol of a group of three (docs/replication-model.md), as a transition system.
/// No clocks: an election may begin at any moment, and messages take as long as they like.
///
/// Threads   any; nothing changes.
class FailOverModel {
public:
    explicit FailOverModel(Bounds bounds, Mistake mistake = Mistake::kNone);

    /// Member 0 is master of epoch 1; member 1 is in sync; member 2 is empty and outside.
    State initial() const;

    /// Everything that could happen in some state.
    const std::vector<Action>& actions() const noexcept { return actions_; }

    /// Whether `action` can happen in `from`; then `to` is what comes of it.
    bool apply(const State& from, Action action, State& to) const;

    /// Empty, or what is broken in `state`.
    std::string violation(const State& state) const;

    /// Whether a confirmed offset that goes back is a violation by itself, or only what follows
    /// from it.
    void check_goes_back(bool yes) { checks_goes_back_ = yes; }

    static std::string describe(const State& from, Action action);
    static std::string describe(const State& state);

private:
    bool can(const State& from, Action action) const;
    bool can_follow(const State& from, Action action) const;
    bool can_swap(const State& from, Action action) const;
    void act(State& to, Action action) const;
    void act_on_register(State& to, Action action) const;
    void copy(State& to, std::size_t follower) const;
    void handshake(State& to, std::size_t follower, std::size_t master) const;
    void send(State& to, std::size_t sender, const Group& value, std::uint8_t expected) const;
    void answered(State& to, Request request) const;
    void lose(State& to, std::size_t slot) const;
    void restart(State& to, std::size_t member) const;
    void confirm(State& to, std::size_t master) const;
    std::uint8_t counted_end(const State& state, std::size_t master, std::size_t member) const;
    std::uint8_t own_end(const Member& member) const;
    std::size_t source(const State& state, std::size_t follower) const;

    Bounds bounds_;
    Mistake mistake_;
    bool checks_goes_back_ = true;
    std::vector<Action> actions_;
};

}  // namespace gantry::model
