// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "protocol/wire/send_number.h"
#include "protocol/wire/state.pb.h"
#include "storage/types.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::storage {

/// A frame of records that its producer has numbered, and the queue it is for.
struct NumberedSend {
    wire::SendNumber number;
    std::string_view topic;
    std::int32_t queue_id = 0;
    std::uint32_t count = 0;
};

/// What is known of producers that number their sends: for each of their queues the number that
/// comes next, and where the newest frames were put. So a frame that comes again is told from a new
/// one, and answered as it was the first time.
///
///   frame:   below next, one of those kept   the same answer again: is_repeat
///            below next, older               kUnknown: stored once, where is forgotten
///            next                            append it; next moves behind it
///            above next                      kConflict: one before it is missing
///            of an earlier epoch             kGone
///            of a later epoch, or of nobody  0: append it, the epoch begins. Else kGone
///
/// State     follows from the log: the first record of each numbered frame has its number. A
///           snapshot may know of frames behind its log offset; to replay these changes nothing.
/// Threads   any. Numbered appends of one stripe (by producer and queue) follow each other.
/// Limits    queues_max: the longest unused of the stripe goes when it was unused for kKeptMs, else
///           kBusy. What was not used for idle_ms is forgotten.
class ProducerTable {
public:
    /// How long and how much is remembered.
    struct Limits {
        std::int64_t idle_ms = 86'400'000;
        std::size_t queues_max = 100'000;  ///< about 250 B each, and 50 B for each frame kept
    };

    /// Frames of one producer and queue whose places are kept. A producer may have as many in
    /// flight to one queue.
    static constexpr std::size_t kFramesKept = 16;
    /// No limit makes the table forget what was used that lately: clients repeat within less.
    static constexpr std::int64_t kKeptMs = 600'000;

    /// Before the first append.
    void set_limits(const Limits& limits) { limits_ = limits; }

    /// Calls `append` when the frame is the next one, and keeps where it was put. Errors: above,
    /// and those of `append`; nothing was changed then.
    template <class Append>
    Result<Appended> in_turn(const NumberedSend& send, WallMs now, Append&& append) {
        Stripe& stripe = stripe_of(send);
        const MutexLock lock(stripe.mutex);
        GANTRY_ASSIGN_OR_RETURN(const std::optional<Appended> before, judge(stripe, send, now));
        if (before) {
            return *before;
        }
        GANTRY_ASSIGN_OR_RETURN(const Appended appended, append());
        note(stripe, send, appended);
        return appended;
    }

    /// Takes in a frame found in the log; one that is known, or of an earlier epoch, changes
    /// nothing.
    void replay(const NumberedSend& send, const Appended& stored);
    /// The topic is deleted.
    void remove_topic(std::string_view topic);
    /// Forgets frames that end behind `end`: the log was cut there.
    void remove_behind(LogOffset end);

    /// How many (producer, queue) are remembered.
    std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }

    /// Adds everything to a snapshot. Every frame published before the call is in, some later ones
    /// may be: the log must be durable up to states.end before the snapshot is saved.
    void save(wire::ProducerStates& states);
    /// Takes a snapshot's as the start. kCorrupt: a negative number, a topic that is not there.
    Status restore(const wire::ProducerStates& states);

private:
    struct Key {
        std::uint64_t producer = 0;
        std::string_view topic;
        std::int32_t queue_id = 0;

        bool operator==(const Key&) const = default;
    };

    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };

    struct Past {
        std::int64_t sequence = 0;
        Appended stored;
    };

    struct Entry {
        std::uint64_t producer = 0;
        std::string topic;
        std::int32_t queue_id = 0;
        std::uint32_t epoch = 0;
        std::int64_t next = 0;
        WallMs used_ms = 0;
        std::vector<Past> past;  ///< oldest first

        Key key() const noexcept { return {producer, topic, queue_id}; }
    };

    using Entries = std::list<Entry>;

    struct Stripe {
        Mutex mutex;
        Entries entries GANTRY_GUARDED_BY(mutex);  ///< longest unused first
        std::unordered_map<Key, Entries::iterator, KeyHash> by_key GANTRY_GUARDED_BY(mutex);
    };

    static constexpr std::size_t kStripes = 64;

    static Key key_of(const NumberedSend& send) noexcept;
    Stripe& stripe_of(const NumberedSend& send) noexcept;
    static Result<std::optional<Appended>> judge_known(const Entry& entry,
                                                       const NumberedSend& send);
    Result<std::optional<Appended>> judge(Stripe& stripe, const NumberedSend& send, WallMs now)
        GANTRY_REQUIRES(stripe.mutex);
    void note(Stripe& stripe, const NumberedSend& send, const Appended& stored)
        GANTRY_REQUIRES(stripe.mutex);
    Entry& entry_for(Stripe& stripe, const Key& key) GANTRY_REQUIRES(stripe.mutex);
    void erase(Stripe& stripe, Entries::iterator entry) GANTRY_REQUIRES(stripe.mutex);
    void forget_idle(Stripe& stripe, WallMs now, std::size_t count_max)
        GANTRY_REQUIRES(stripe.mutex);
    Status make_room(Stripe& stripe, WallMs now) GANTRY_REQUIRES(stripe.mutex);

    Limits limits_;
    std::atomic<std::size_t> size_{0};
    std::atomic<WallMs> now_{0};  ///< as last told
    std::array<Stripe, kStripes> stripes_;
};

}  // namespace gantry::storage
