// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::wire {

/// One message of a stock client's batch body (request code 320).
///
///   i32 size | i32 0 | i32 0 | i32 flag | i32 bodyLength | body | i16 propertiesLength |
///   properties
struct BatchElement {
    std::int32_t flag = 0;
    Bytes body = {};
    std::string_view properties = {};
};

/// The elements of `bytes`, which must fill it exactly; views into it. kCorrupt: lengths that do
/// not add up. kRefused: more than `count_max`.
Result<std::vector<BatchElement>> parse_batch(Bytes bytes, std::uint32_t count_max);

/// Appends one element. The caller has checked that its properties fit 32767 bytes.
void append_batch_element(std::string& out, const BatchElement& element);

}  // namespace gantry::wire
