// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::wire {

/// Which of a producer's sends to one queue a frame of records is. It stands in the property GSEQ
/// of the frame's first record, whose sysFlag has kNumbered.
///
///   producer 9f3c…, epoch 0:   frame of 3 messages: 0   of 1: 3   of 2: 4   of 5: 6 …
///
/// Text      "<16 hex digits of the producer>.<epoch>.<sequence>", both in hex without zeros
///           before them: 20 to 42 characters.
struct SendNumber {
    std::uint64_t producer = 0;  ///< drawn at random, for each producer that is made
    std::uint32_t epoch = 0;     ///< counts how often the producer began its numbers anew
    std::int64_t sequence = 0;   ///< of the frame's first message; the others follow

    bool operator==(const SendNumber&) const = default;
};

inline constexpr std::size_t kSendNumberBytesMax = 42;

/// The number as text.
std::string format_send_number(const SendNumber& number);

/// kRefused: it is not of that form, with the text.
Result<SendNumber> parse_send_number(std::string_view text);

}  // namespace gantry::wire
