// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/counters.h"
#include "common/result.h"
#include "filter/sql_filter.h"
#include "storage/store.h"

#include <cstdint>

namespace gantry::broker {

/// Reads of one queue that give what an SQL92 expression matches: it reads on behind what does not,
/// within its limits, so that one pull is bounded work.
///
///   loop   units and properties of what is in memory: mapped, read where it lies
///   cold   the rest: a cold read brings it, a thread of the store goes over it
///
/// Threads   any. read: does not block, for loops. sift: may wait for the page cache.
/// Limits    of one call: kScanMessages, about kScanBytes of the log.
/// Lifetime  `store` and `counters` outlive it.
class FilteredReader {
public:
    static constexpr std::uint32_t kScanMessages = 4'096;
    static constexpr std::uint64_t kScanBytes = std::uint64_t{4} << 20U;
    /// Of the log, in one cold read.
    static constexpr std::uint32_t kColdBytes = 1U << 20U;

    FilteredReader(const storage::Store& store, Counters& counters)
        : store_(store), counters_(counters) {}

    /// As Store::read. is_cold: what is at `next` must be read with cold_request().
    storage::ReadResult read(const storage::Queue& queue,
                             const storage::ReadRequest& wanted,
                             const filter::SqlFilter& filter) const;

    /// What to ask Store::read_cold for, whatever a pull is limited to.
    static storage::ReadRequest cold_request(const storage::ReadRequest& wanted);

    /// What to answer a pull with, by what a cold read found for it. kIo.
    Result<storage::ReadResult> sift(const storage::Queue& queue,
                                     const storage::ReadRequest& wanted,
                                     const filter::SqlFilter& filter,
                                     storage::ReadResult found) const;

private:
    const storage::Store& store_;
    Counters& counters_;
};

}  // namespace gantry::broker
