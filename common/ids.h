// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace gantry {

/// An integer that does not mix with other integers. Differences are plain integers.
template <class Tag, class Int>
struct StrongInt {
    using value_type = Int;
    Int value = 0;

    constexpr StrongInt() = default;

    constexpr explicit StrongInt(Int v) noexcept : value(v) {}

    constexpr auto operator<=>(const StrongInt&) const = default;

    constexpr StrongInt operator+(Int n) const noexcept { return StrongInt(value + n); }

    constexpr StrongInt operator-(Int n) const noexcept { return StrongInt(value - n); }

    constexpr Int operator-(StrongInt other) const noexcept { return value - other.value; }

    constexpr StrongInt& operator+=(Int n) noexcept {
        value += n;
        return *this;
    }
};

/// Byte position in the commit log of one broker, counted from its first byte ever.
using LogOffset = StrongInt<struct LogOffsetTag, std::int64_t>;

/// Position of a message in one queue: 0 for the first message ever.
using QueueOffset = StrongInt<struct QueueOffsetTag, std::int64_t>;

}  // namespace gantry

/// Hashes a strong integer as its plain one, for keys of unordered containers.
template <class Tag, class Int>
struct std::hash<gantry::StrongInt<Tag, Int>> {
    std::size_t operator()(gantry::StrongInt<Tag, Int> id) const noexcept {
        return std::hash<Int>{}(id.value);
    }
};
