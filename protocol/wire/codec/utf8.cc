// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace gantry::wire {
namespace {

constexpr std::uint64_t kHighBits = 0x8080'8080'8080'8080ULL;

// What the first byte of a sequence says about it; length 1 for bytes that cannot start one.
struct Lead {
    std::size_t length = 1;
    char32_t bits = 0;
    char32_t smallest = 0;
};

Lead lead_of(std::uint32_t first) noexcept {
    if (first >= 0xF0 && first < 0xF8) {
        return {4, first & 0x07U, 0x10000};
    }
    if (first >= 0xE0 && first < 0xF0) {
        return {3, first & 0x0FU, 0x800};
    }
    if (first >= 0xC0 && first < 0xE0) {
        return {2, first & 0x1FU, 0x80};
    }
    return {};
}

}  // namespace

std::optional<char32_t> next_code_point(std::string_view& text) noexcept {
    const auto first = static_cast<unsigned char>(text.front());
    if (first < 0x80) {
        text.remove_prefix(1);
        return first;
    }
    const Lead lead = lead_of(first);
    char32_t value = lead.bits;
    bool is_valid = lead.length > 1 && lead.length <= text.size();
    for (std::size_t i = 1; is_valid && i < lead.length; ++i) {
        const auto next = static_cast<unsigned char>(text[i]);
        is_valid = (next & 0xC0U) == 0x80U;
        value = (value << 6U) | (next & 0x3FU);
    }
    is_valid = is_valid && value >= lead.smallest && value <= 0x10FFFF &&
               (value < 0xD800 || value > 0xDFFF);
    text.remove_prefix(is_valid ? lead.length : 1);
    return is_valid ? std::optional<char32_t>(value) : std::nullopt;
}

bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        while (text.size() >= sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), sizeof(word));
            if ((word & kHighBits) != 0) {
                break;
            }
            text.remove_prefix(sizeof(word));
        }
        const std::size_t slow = std::min(text.size(), sizeof(std::uint64_t));
        const std::size_t stop = text.size() - slow;
        while (text.size() > stop) {
            if (!next_code_point(text)) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace gantry::wire
