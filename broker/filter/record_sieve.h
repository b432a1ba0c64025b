// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "filter/sql_filter.h"
#include "storage/index/unit_tag.h"
#include "storage/types.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gantry::broker {

/// Keeps of the records that reads found those an expression matches: `kept` becomes the answer to
/// one pull. Bodies are neither copied nor looked at; what is kept refers to where it lies, and
/// neighbours stay in one run.
///
/// Damage    it stops at a record that does not parse; that one is given unread, so that who reads
///           it sees the damage.
/// Threads   one; that of the caller.
/// Lifetime  `filter` and `kept` outlive it.
class RecordSieve {
public:
    /// Stops at `limits.count_max` records or `limits.bytes_max` bytes; one is always kept.
    RecordSieve(const filter::SqlFilter& filter,
                const storage::ReadRequest& limits,
                storage::ReadResult& kept)
        : filter_(filter), limits_(limits), clock_(limits.now), kept_(kept) {}

    /// Goes over `found`: the records from kept.next on, without a gap, all of them in memory.
    /// Moves kept.next behind the last one examined. False when the record at kept.next does not
    /// parse; where it ends the consume queue can tell.
    bool take(const storage::ReadResult& found);

    /// Keeps the one record of `found`, whatever it says.
    void keep_unread(const storage::ReadResult& found);

    bool is_full() const noexcept { return is_full_; }

    std::uint64_t examined() const noexcept { return examined_; }

    /// Messages that did not match because a property could not be read as a number.
    std::uint64_t failed() const noexcept { return failed_; }

private:
    bool take_run(const storage::LogRun& run);
    bool is_wanted(std::string_view properties) noexcept;
    bool keep(const storage::LogRun& run, std::size_t at, std::size_t bytes);

    const filter::SqlFilter& filter_;
    const storage::ReadRequest& limits_;
    const storage::ExpiryClock clock_;
    storage::ReadResult& kept_;
    bool is_full_ = false;
    std::uint64_t examined_ = 0;
    std::uint64_t failed_ = 0;
};

}  // namespace gantry::broker
