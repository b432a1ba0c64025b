// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/delay/recall_handle.h"

#include <array>
#include <charconv>
#include <cstdint>

namespace gantry::wire {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string format_recall_handle(const RecallHandle& handle) {
    const std::string plain = "v1 " + handle.topic + ' ' + handle.broker + ' ' +
                              std::to_string(handle.due) + ' ' + handle.key;
    std::string text;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : plain) {
        bits = bits << 8U | static_cast<unsigned char>(c);
        for (count += 8; count >= 6; count -= 6) {
            text.push_back(kDigits[bits >> (count - 6) & 0x3FU]);
        }
    }
    if (count > 0) {
        text.push_back(kDigits[bits << (6 - count) & 0x3FU]);
    }
    text.append((4 - text.size() % 4) % 4, '=');
    return text;
}

Result<RecallHandle> parse_recall_handle(std::string_view text) {
    const Error none{Errc::kRefused, "recall handle is invalid"};
    std::string plain;
    std::uint32_t bits = 0;
    unsigned count = 0;
    while (!text.empty() && text.back() == '=') {
        text.remove_suffix(1);
    }
    for (const char c : text) {
        const std::size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) {
            return none;
        }
        bits = bits << 6U | static_cast<std::uint32_t>(digit);
        count += 6;
        if (count >= 8) {
            count -= 8;
            plain.push_back(static_cast<char>(bits >> count & 0xFFU));
        }
    }
    std::array<std::string, 5> parts;
    std::size_t part = 0;
    for (const char c : plain) {
        if (c == ' ' && ++part == parts.size()) {
            return none;
        }
        if (c != ' ') {
            parts[part].push_back(c);
        }
    }
    RecallHandle handle{parts[1], parts[2], 0, parts[4]};
    const char* const end = parts[3].data() + parts[3].size();
    const auto parsed = std::from_chars(parts[3].data(), end, handle.due);
    const bool is_time = parsed.ec == std::errc{} && parsed.ptr == end && handle.due >= 0;
    if (parts[0] != "v1" || handle.topic.empty() || handle.key.empty() || !is_time) {
        return none;
    }
    return handle;
}

}  // namespace gantry::wire
