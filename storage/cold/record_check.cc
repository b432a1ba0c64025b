// SPDX-License-Identifier: Apache-2.0
#include "storage/cold/record_check.h"

#include "protocol/wire/record.h"

#include <algorithm>

namespace gantry::storage {
namespace {

/// Empty when the record is whole and stands where it says.
std::string objection_to(const Result<wire::Record>& record, LogOffset at) {
    if (!record) {
        return record.error().detail;
    }
    if (record->log_offset != at) {
        return "its log offset is " + std::to_string(record->log_offset.value);
    }
    return wire::body_crc_matches(*record) ? "" : "the CRC of its body does not match";
}

}  // namespace

RecordCheck check_records(Bytes bytes, std::span<const LogRun> runs) {
    RecordCheck check;
    for (const LogRun& run : runs) {
        const std::uint64_t there = bytes.size() - check.good_bytes;
        Bytes left = bytes.subspan(check.good_bytes, std::min(there, run.length));
        LogOffset at = run.at;
        while (!left.empty()) {
            const Result<wire::Record> record = wire::parse_record(left);
            check.why = objection_to(record, at);
            if (!check.why.empty()) {
                check.bad_at = at;
                return check;
            }
            left = left.subspan(record->stored_bytes);
            at += static_cast<std::int64_t>(record->stored_bytes);
            check.good_bytes += record->stored_bytes;
            ++check.good_count;
        }
    }
    return check;
}

}  // namespace gantry::storage
