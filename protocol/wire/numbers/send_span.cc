// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/numbers/send_span.h"

#include "protocol/wire/properties.h"

#include <array>
#include <charconv>

namespace gantry::wire {
namespace {

constexpr int kHex = 16;

}  // namespace

std::string format_send_span(std::uint32_t span) {
    std::array<char, 8> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), span, kHex).ptr;
    return {digits.data(), end};
}

Result<std::uint32_t> send_span_of(std::string_view properties, std::uint32_t count) {
    const std::string_view text = find_property(properties, kSendSpan);
    if (text.empty()) {
        return count;
    }
    std::uint32_t span = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, span, kHex);
    if (parsed.ec != std::errc{} || parsed.ptr != end || span < count) {
        return Error{Errc::kRefused,
                     "GSPAN \"" + std::string(text) + "\" is not a hex number of at least " +
                         std::to_string(count) + ", the messages of its frame"};
    }
    return span;
}

}  // namespace gantry::wire
