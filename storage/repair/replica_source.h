// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace gantry::storage {

/// Other copies of the same log, to mend this one from.
///
/// Threads   any but a loop: fetch blocks.
/// Errors    of fetch: kNotFound, kCorrupt, kConflict: that copy does not have them; kTimeout,
///           kGone: it is not there now; kClosed: cancelled. What it gives is not believed, but
///           checked.
/// Lifetime  shared with the store that uses it.
class ReplicaSource {
public:
    ReplicaSource() = default;
    ReplicaSource(const ReplicaSource&) = delete;
    ReplicaSource& operator=(const ReplicaSource&) = delete;
    virtual ~ReplicaSource() = default;

    /// How many copies can be asked now. The first are asked first.
    virtual std::size_t copies() = 0;
    /// Log bytes [from, from + bytes) of one copy, all of them.
    virtual Result<std::string> fetch(std::size_t copy, LogOffset from, std::uint64_t bytes) = 0;
    /// Ends the fetch under way and every later one with kClosed. Any thread, does not block.
    virtual void cancel() noexcept = 0;
};

}  // namespace gantry::storage
