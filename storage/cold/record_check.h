// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "storage/types.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace gantry::storage {

/// How far the records of a reply are what was stored.
struct RecordCheck {
    std::uint32_t good_count = 0;  ///< whole records before the first damaged one
    std::uint64_t good_bytes = 0;
    LogOffset bad_at;  ///< the damaged one, when `why` says something
    std::string why;
};

/// Checks `bytes`, the runs, or the first part of them, laid end to end: each record's size, magic,
/// log offset, structure and the CRC of its body.
RecordCheck check_records(Bytes bytes, std::span<const LogRun> runs);

}  // namespace gantry::storage
