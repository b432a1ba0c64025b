// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"

#include <cstdint>
#include <string_view>

namespace gantry::storage {

/// The eight bytes of a unit that readers choose messages by, without reading them.
///
///   low half    tag hash, Java's hashCode; 0 without a tag
///   high half   never expires: the hash's sign, 0 or FFFFFFFF, as RocketMQ has it
///               expires: in so many quarters of a second after 2025-01-01, UTC, rounded up
///
/// That of a delayed message that waits, with TIMER_OUT_MS and REAL_TOPIC, is its due time in ms
/// since 1970: nobody chooses among those by tag.
///
/// Limits    a time before that is one at it, one beyond July 2058 is none.

/// Of a message with these properties: TAGS, GANTRY_EXPIRES_AT, TIMER_OUT_MS. One that is no number
/// is ignored.
std::int64_t unit_tag(std::string_view properties) noexcept;

/// Its tag hash as units without an expiry have it.
constexpr std::int64_t tag_hash_in(std::int64_t tag) noexcept {
    return static_cast<std::int32_t>(tag);
}

/// When the message expires, a quarter of a second late at most; 0: never.
WallMs expiry_in(std::int64_t tag) noexcept;

/// The present, to compare with many tags.
class ExpiryClock {
public:
    /// `now` 0: nothing has expired.
    explicit ExpiryClock(WallMs now) noexcept;

    /// Whether the end in a unit's tag has come.
    bool is_over(std::int64_t tag) const noexcept {
        const auto expiry = static_cast<std::uint32_t>(static_cast<std::uint64_t>(tag) >> 32U);
        return expiry - 1 < now_;  // 0, the sign of most, becomes the largest; FFFFFFFF is too
    }

private:
    std::uint32_t now_ = 0;
};

}  // namespace gantry::storage
