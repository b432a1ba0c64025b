// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::bench {

/// The first bytes of every benchmark body: who sent it, which one it is, and when.
struct Stamp {
    std::uint32_t magic = kMagic;
    std::uint32_t producer = 0;
    std::uint64_t run =
        0;  ///< random number of the run: older messages of the topic are told apart
    std::uint64_t sequence = 0;
    std::uint64_t sent_ns = 0;  ///< CLOCK_MONOTONIC of this host

    static constexpr std::uint32_t kMagic = 0x6762656E;
};

static_assert(sizeof(Stamp) == 32);

/// Overwrites the start of `body`, which holds at least sizeof(Stamp) bytes.
inline void write_stamp(std::string& body, const Stamp& stamp) noexcept {
    std::memcpy(body.data(), &stamp, sizeof(stamp));
}

/// The stamp a body starts with; nothing when it is too short for one or has another magic number.
inline std::optional<Stamp> read_stamp(std::string_view body) noexcept {
    Stamp stamp;
    if (body.size() < sizeof(stamp)) {
        return std::nullopt;
    }
    std::memcpy(&stamp, body.data(), sizeof(stamp));
    if (stamp.magic != Stamp::kMagic) {
        return std::nullopt;
    }
    return stamp;
}

/// What one message adds to the checksum of a run: the same set of messages gives the same sum.
inline std::uint64_t fingerprint(const Stamp& stamp) noexcept {
    std::uint64_t z = stamp.sequence * 0x9E3779B97F4A7C15ULL + stamp.producer;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
}

/// CLOCK_MONOTONIC in nanoseconds: comparable between the processes of one host.
std::uint64_t monotonic_ns() noexcept;

}  // namespace gantry::bench
