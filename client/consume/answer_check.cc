// SPDX-License-Identifier: Apache-2.0
#include "client/consume/answer_check.h"

#include "common/result.h"
#include "protocol/wire/record.h"

namespace gantry::client {

AnswerCheck check_answer(Bytes records, std::int64_t from, std::int64_t next) {
    AnswerCheck check;
    std::int64_t expected = from;
    while (check.good_bytes < records.size()) {
        const Result<wire::Record> record = wire::parse_record(records.subspan(check.good_bytes));
        if (!record) [[unlikely]] {
            check.bad_from = expected;
            check.bad_to = next;
            check.why = record.error().detail;
            return check;
        }
        const std::int64_t at = record->queue_offset.value;
        if (!wire::body_crc_matches(*record)) [[unlikely]] {
            // The offset is no more certain than the body.
            check.bad_from = at >= expected && at < next ? at : expected;
            check.bad_to = check.bad_from + 1;
            check.why = "the CRC of its body does not match";
            return check;
        }
        expected = at + 1;
        check.good_bytes += record->stored_bytes;
    }
    return check;
}

}  // namespace gantry::client
