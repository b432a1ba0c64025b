// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace gantry::net {

/// Gives memory that the program has freed, and its allocator keeps for later, back to the system:
/// a burst that is over, of frames that wait for a disk say, leaves no trace in the size of a
/// process that means to stay at a few megabytes.
///
///   resident anonymous pages - bytes in use = spare
///
/// Threads   one, which may block for some milliseconds; never a loop's.
/// Limits    memory of glibc's allocator. Under a sanitizer, which has another one, it finds
///           nothing to give back. What lies between small pieces still in use may stay: that much
///           more has to be spare before it tries again.
class SpareMemory {
public:
    /// Up to `kept` spare bytes stay, for the next burst.
    explicit SpareMemory(std::size_t kept) noexcept : kept_(kept), tolerated_(kept) {}

    /// To be called every few seconds. Returns the bytes given back; 0: there was too little.
    std::size_t look() noexcept;

private:
    const std::size_t kept_;
    std::size_t tolerated_;
};

}  // namespace gantry::net
