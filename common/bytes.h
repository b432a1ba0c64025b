// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace gantry {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

namespace internal {

template <std::integral T>
constexpr T swap_bytes(T value) noexcept {
    if constexpr (sizeof(T) == 1) {
        return value;
    } else if constexpr (sizeof(T) == 2) {
        return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
    } else if constexpr (sizeof(T) == 4) {
        return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
    } else {
        return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
    }
}

}  // namespace internal

/// Reads a big-endian integer from unaligned memory of at least sizeof(T) bytes.
template <std::integral T>
T load_be(const std::byte* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return internal::swap_bytes(value);
}

/// Writes a big-endian integer to unaligned memory of at least sizeof(T) bytes.
template <std::integral T>
void store_be(std::byte* at, T value) noexcept {
    value = internal::swap_bytes(value);
    std::memcpy(at, &value, sizeof(T));
}

inline Bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Walks over bytes of unknown origin. A read past the end returns zero or an empty span and sets
/// failed() for good, so that a parser checks once, at its end.
class ByteReader {
public:
    explicit ByteReader(Bytes bytes) noexcept : bytes_(bytes) {}

    /// The next sizeof(T) bytes as a big-endian integer.
    template <std::integral T>
    T read() noexcept {
        if (remaining() < sizeof(T)) {
            return fail<T>();
        }
        const T value = load_be<T>(bytes_.data() + position_);
        position_ += sizeof(T);
        return value;
    }

    /// The next `count` bytes, as a view of the input.
    Bytes take(std::size_t count) noexcept {
        if (remaining() < count) {
            return fail<Bytes>();
        }
        const Bytes view = bytes_.subspan(position_, count);
        position_ += count;
        return view;
    }

    std::size_t remaining() const noexcept { return bytes_.size() - position_; }

    std::size_t position() const noexcept { return position_; }

    bool failed() const noexcept { return failed_; }

private:
    template <class T>
    T fail() noexcept {
        failed_ = true;
        position_ = bytes_.size();
        return T{};
    }

    Bytes bytes_;
    std::size_t position_ = 0;
    bool failed_ = false;
};

}  // namespace gantry
