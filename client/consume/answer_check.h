// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace gantry::client {

/// How far the records of a pull's answer are what was stored.
struct AnswerCheck {
    std::size_t good_bytes = 0;  ///< whole records before the first damaged one; without one: all
    std::int64_t bad_from = 0;   ///< queue offset of the damaged one
    std::int64_t bad_to = 0;     ///< behind it; without a size that holds, behind the answer
    std::string why;             ///< empty: none is damaged
};

/// Checks the structure and the body CRC of each record in the answer to a pull from queue offset
/// `from`, behind which the queue goes on at `next`.
AnswerCheck check_answer(Bytes records, std::int64_t from, std::int64_t next);

}  // namespace gantry::client
