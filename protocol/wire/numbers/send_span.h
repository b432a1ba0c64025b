// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::wire {

/// A numbered frame may stand for more numbers than it has messages: the rest are passed over, and
/// no frame with one of them is stored any more. Who copies a queue numbers frames by the offsets
/// they were read from, so that every offset is in one frame at most, whoever sends it.
///
///   source     100 101 102 103 104 105          102 and 103 are not wanted
///   frames     [100..104): 100 101    [104..106): 104 105
///
/// It stands in the property GSPAN of the frame's first record, in hex; without it the span is the
/// number of messages.
inline constexpr std::string_view kSendSpan = "GSPAN";

/// The property's value.
std::string format_send_span(std::uint32_t span);

/// The span of a frame of `count` messages whose first record has these properties. kRefused: not
/// a number, or below `count`.
Result<std::uint32_t> send_span_of(std::string_view properties, std::uint32_t count);

}  // namespace gantry::wire
