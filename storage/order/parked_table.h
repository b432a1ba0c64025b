// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace gantry::storage {

/// A key of a queue, as one group parks it. Views: they last for the call.
struct ParkedName {
    std::string_view group;
    std::string_view topic;
    std::int32_t queue_id = 0;
    std::string_view key;
};

/// What is parked under a key.
struct ParkedInfo {
    std::string topic;
    std::int32_t queue_id = 0;
    std::string key;
    std::size_t count = 0;   ///< messages; at least 1
    std::int64_t first = 0;  ///< queue offset of the oldest
    std::int64_t last = 0;
    WallMs since_ms = 0;       ///< when the first one was parked
    bool is_released = false;  ///< on its way back to the group
};

/// Messages that a group has put aside, by key, so that the other keys of the queue go on: their
/// queue offsets, in order. The messages stay where they are, in the log.
///
///   free --ParkedPut--> parked --released--> on its way --done, done ...--> free
///                         | ^                   |
///                         | '------- held ------'
///                         '---- dropped --> free
///
/// Limits    those of deleted topics and groups go with them.
/// Threads   one at a time.
class ParkedTable {
public:
    /// What a ParkedChange says.
    enum Action : std::int32_t { kReleased = 1, kHeld = 2, kDone = 3, kDropped = 4 };

    static constexpr std::size_t kKeyBytesMax = 1'024;

    /// Whether it may be applied. kRefused: names the field, its value and the limit.
    static Status check(const wire::ParkedPut& put);
    static Status check(const wire::ParkedChange& change);

    /// Offsets not above the last one are there already.
    void apply(const wire::ParkedPut& put, WallMs at_ms);
    /// Changes nothing when the key is not parked, or what is done is not its first message.
    void apply(const wire::ParkedChange& change);

    /// Nothing: it is not parked.
    std::optional<ParkedInfo> find(const ParkedName& name) const;
    /// Of a group; with a topic: of that queue. Sorted by topic, queue and key.
    std::vector<ParkedInfo> list(std::string_view group,
                                 std::string_view topic,
                                 std::int32_t queue_id) const;

    std::size_t message_count() const noexcept { return messages_; }

    /// Forgets what is of the topic.
    void remove_topic(std::string_view topic);
    /// Forgets what is of the group.
    void remove_group(std::string_view group);

    /// Writes all of it into the snapshot.
    void save(wire::StateSnapshot& snapshot) const;
    /// kCorrupt: holds what no ParkedPut may say.
    Status restore(const wire::StateSnapshot& snapshot);

private:
    using Key = std::tuple<std::string, std::string, std::int32_t, std::string>;

    struct Parked {
        std::deque<std::int64_t> offsets;
        WallMs since_ms = 0;
        bool is_released = false;
    };

    using Keys = std::map<Key, Parked>;

    static ParkedInfo info_of(const Keys::value_type& entry);
    template <class Doomed>
    void remove_if(Doomed doomed);
    void erase(Keys::iterator at);

    Keys keys_;
    std::size_t messages_ = 0;
};

}  // namespace gantry::storage
