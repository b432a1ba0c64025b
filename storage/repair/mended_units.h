// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/ids.h"
#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/index/queue_index.h"
#include "storage/store_parts.h"

#include <cstdint>

namespace gantry::storage {

/// Gives the messages of a mended part of the log their places in consume queues and key index
/// back: a start that could not read them left holes, or what a damaged record said of itself.
///
///   queue     o--4--o--hole--o--hole--o--7--o      record 5 of the queue lies behind that of 4:
///             the first hole becomes its unit
///
/// Threads   one, while others append and read. Blocks on the disk.
/// Lifetime  `parts` outlives it.
class MendedUnits {
public:
    explicit MendedUnits(Store::Parts& parts) : parts_(parts) {}

    /// Walks the records of [from, to). kCorrupt: they are not whole after all.
    Status restore(LogOffset from, LogOffset to);

    /// Units written again; they are in memory until the next flush of the queues.
    std::uint64_t restored() const noexcept { return restored_; }

    /// Messages behind the end of their queue, which need a start to come back.
    std::uint64_t behind_end() const noexcept { return behind_end_; }

private:
    void take(const wire::Record& record);
    static bool is_its_hole(const QueueIndex& queue, const wire::Record& record);
    void index_keys(const wire::Record& record);

    Store::Parts& parts_;
    std::uint64_t restored_ = 0;
    std::uint64_t behind_end_ = 0;
};

}  // namespace gantry::storage
