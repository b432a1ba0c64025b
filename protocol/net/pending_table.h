// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "protocol/net/channel.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace gantry::net {

/// A request that waits for its answer.
struct Pending {
    std::int32_t opaque = 0;
    SteadyTime deadline{};
    std::uint64_t stream_position = 0;  ///< of its first byte in the connection's output
    Channel::Done done;
};

/// The requests in flight of one channel, by opaque. Opaques are handed out in sequence, so an open
/// table that uses their low bits as the place has hardly a collision and no allocation per
/// request.
///
/// Threads   one: the channel's loop.
class PendingTable {
public:
    std::size_t size() const noexcept { return size_; }

    /// The opaque must not be in the table.
    void insert(Pending pending);
    std::optional<Pending> take(std::int32_t opaque);
    bool contains(std::int32_t opaque) const noexcept;

    /// Takes out what is due at `now`, oldest deadline first.
    std::vector<Pending> take_due(SteadyTime now);
    /// Takes out everything, in order of sending.
    std::vector<Pending> take_all();

    /// No entry is due before it; SteadyTime::max() when empty.
    SteadyTime earliest() const noexcept;

private:
    static constexpr std::size_t kCapacityMin = 64;

    std::size_t home_of(std::int32_t opaque) const noexcept {
        return static_cast<std::uint32_t>(opaque) & (slots_.size() - 1);
    }

    std::size_t find(std::int32_t opaque) const noexcept;
    void place(Pending&& pending);
    void close_gap(std::size_t hole);
    void grow();

    struct Slot {
        Pending pending;
        bool is_used = false;
    };

    std::vector<Slot> slots_;
    std::size_t size_ = 0;
    std::size_t away_ = 0;                     // entries that are not at their home
    SteadyTime earliest_ = SteadyTime::max();  // a lower bound
};

}  // namespace gantry::net
