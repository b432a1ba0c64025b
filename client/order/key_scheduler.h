// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "common/clock.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client {

/// Which of one queue's messages may be worked on: those of one key one after the other, also
/// across retries; keys side by side, in the order in which they became ready.
///
///   push --> lane of its key:  idle --> ready --take--> running --done--> next one, or gone
///                                 ^                        |
///                                 '---- not_before --------'  again
///
/// Offsets   first_undone() is what may be committed: all below it is done, whatever is done above.
/// Batches   of messages of one key that were never tried; what was in one that failed is given out
///           one by one.
/// Threads   one at a time.
class KeyScheduler {
public:
    /// A message in a lane.
    struct Held {
        std::int64_t offset = 0;
        MessageView message;
    };

    /// Messages of one key that are worked on.
    struct Work {
        std::string key;
        std::vector<Held> held;
        std::uint32_t attempts = 0;  ///< that failed before, of the first one
    };

    /// Nothing is held; `start`: offset of the first message to come.
    explicit KeyScheduler(std::int64_t start) : end_(start) {}

    /// Takes in a message of an offset at or above end().
    void push(std::string key, std::int64_t offset, MessageView message);
    /// Messages to work on now; the lane is running until done or again.
    std::optional<Work> take(std::size_t count_max, SteadyTime now);
    /// They are over.
    void done(const Work& work);
    /// They come again, before any other message of their key. `has_failed`: counted as an attempt,
    /// unless they were several.
    void again(Work work, SteadyTime not_before, bool has_failed);

    /// Keeps the key's lane from being worked on until release; false: it is, or kept already.
    bool hold(const std::string& key);
    void release(const std::string& key);

    /// When the next lane that waits becomes ready.
    std::optional<SteadyTime> next_due() const;
    /// Whether take would give something.
    bool is_ready(SteadyTime now) const;

    /// Offset of the oldest message that is not done; end() when all are.
    std::int64_t first_undone() const noexcept { return undone_.empty() ? end_ : *undone_.begin(); }

    /// Behind the newest message.
    std::int64_t end() const noexcept { return end_; }

    /// Offsets from the oldest message that is not done to the newest.
    std::int64_t span() const noexcept { return end_ - first_undone(); }

    bool is_empty() const noexcept { return undone_.empty(); }

private:
    struct Lane {
        std::deque<Held> waiting;
        std::uint32_t attempts = 0;  // of the first
        std::size_t singly = 0;      // so many are given out one by one
        bool is_running = false;
        bool is_kept = false;    // hold
        bool is_queued = false;  // in ready_ or due_
    };

    using Lanes = std::map<std::string, Lane, std::less<>>;

    void make_ready(const std::string& key, Lane& lane);
    void wake_due(SteadyTime now);

    Lanes lanes_;
    std::deque<std::string> ready_;
    std::set<std::pair<SteadyTime, std::string>> due_;
    std::set<std::int64_t> undone_;
    std::int64_t end_ = 0;
};

}  // namespace gantry::client
