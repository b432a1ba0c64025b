// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/record.h"
#include "storage/log/segment.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::storage {

/// What stands at a position of the log.
struct LogEntry {
    /// What kind of bytes they are.
    enum class Kind : std::uint8_t {
        kRecord,   ///< whole, its CRC matches, its log offset is its position
        kBlank,    ///< the rest of the segment is unused
        kNothing,  ///< zeros, or the end of the last segment
        kBad,  ///< anything else: torn, stale or damaged; `why` says. With `end` > `at` only the
               ///< body is damaged, the record says whose
    };

    Kind kind = Kind::kNothing;
    LogOffset at;
    LogOffset end;        ///< of a record or blank: where the next entry is
    wire::Record record;  ///< views stay valid until the reader moves
    Bytes bytes;          ///< of the record
    std::string why;
};

/// Walks the log record by record, from disk, without trusting a byte of it.
///
/// Threads   one at a time. Lifetime: `segments` outlives it.
class LogReader {
public:
    explicit LogReader(const SegmentSet& segments) noexcept : segments_(segments) {}

    /// The entry at `at`. Blocks on the disk. kIo: the disk does not give the bytes.
    Result<LogEntry> read(LogOffset at);

    /// First position in [from, to) at which a whole record stands, or `to`. Skips what is no
    /// data in the file, and gaps between files. kIo as above.
    Result<LogOffset> find_record(LogOffset from, LogOffset to);

    /// End of the last byte in [from, to) that is not zero, or `from`.
    Result<LogOffset> end_of_data(LogOffset from, LogOffset to);

private:
    /// Reads `bytes` from `at` into the buffer, or as many as there are in its segment.
    Status fill(LogOffset at, std::size_t bytes);
    Result<Bytes> view(LogOffset at, std::size_t bytes);
    Result<LogEntry> judge(LogOffset at, const Segment& segment);

    const SegmentSet& segments_;
    std::vector<std::byte> buffer_;
    LogOffset buffer_at_;
    std::size_t buffer_bytes_ = 0;
    LogOffset asked_ahead_;  ///< reads from here on ask the disk for what comes next
};

}  // namespace gantry::storage
