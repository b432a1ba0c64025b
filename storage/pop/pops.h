// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "storage/pop/pop_table.h"
#include "storage/types.h"

#include <cstddef>

namespace gantry::storage {

class LogStateMachine;

/// Pops, as records of the log: table() is what is so now, write() logs what changed of it since
/// the last time, of many queues and calls in one record. An acknowledgement costs no record of its
/// own; a lease is to be written before its owner hears of it.
///
///   hand out   table().with ... hand_out -> write(kLeases) -> answer
///   ack        table().with ... acknowledge -> answer; written with the next lease, or by write()
///
/// After a crash the leases that were written hold on; an acknowledgement that was not is as if it
/// had not come.
///
/// Threads   any.
/// Errors    of append: nothing was written then, and the next write says all again.
/// Lifetime  `state` outlives it.
class Pops {
public:
    explicit Pops(LogStateMachine& state) : state_(state) {}

    /// What a write is to contain.
    enum class What { kLeases, kAll };

    /// Logs what changed, in one record or, where that would be large, several.
    Status write(What what);

    /// What is so now.
    PopTable& table() noexcept;
    /// The same.
    const PopTable& table() const noexcept;

private:
    static constexpr std::size_t kRecordBytes = 512U << 10U;  ///< and one queue more

    LogStateMachine& state_;
};

}  // namespace gantry::storage
