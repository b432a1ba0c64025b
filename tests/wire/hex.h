// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace gantry::wire {

/// The bytes that `text` spells in hex; anything but hex digits is skipped.
inline std::string from_hex(std::string_view text) {
    std::string bytes;
    int high = -1;
    for (const char c : text) {
        const std::size_t digit = std::string_view("0123456789abcdef").find(c);
        if (digit == std::string_view::npos) {
            continue;
        }
        if (high < 0) {
            high = static_cast<int>(digit);
        } else {
            bytes += static_cast<char>(high * 16 + static_cast<int>(digit));
            high = -1;
        }
    }
    return bytes;
}

inline std::string to_hex(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        const auto value = static_cast<unsigned char>(c);
        text += "0123456789abcdef"[value >> 4U];
        text += "0123456789abcdef"[value & 0xFU];
    }
    return text;
}

}  // namespace gantry::wire
