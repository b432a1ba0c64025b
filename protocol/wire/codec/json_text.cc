// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/json_text.h"

namespace gantry::wire {
namespace {

bool needs_escape(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}

void append_escape(std::string& out, char c) {
    static constexpr std::string_view kPlain = "\"\\\b\t\n\f\r";
    static constexpr std::string_view kLetters = "\"\\btnfr";
    out += '\\';
    if (const std::size_t at = kPlain.find(c); at != std::string_view::npos) {
        out += kLetters[at];
        return;
    }
    static constexpr std::string_view kDigits = "0123456789ABCDEF";
    const auto value = static_cast<unsigned char>(c);
    out.append("u00");
    out += kDigits[value >> 4U];
    out += kDigits[value & 0xFU];
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    std::size_t plain_from = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (needs_escape(text[i])) {
            out.append(text.substr(plain_from, i - plain_from));
            append_escape(out, text[i]);
            plain_from = i + 1;
        }
    }
    out.append(text.substr(plain_from)) += '"';
}

}  // namespace gantry::wire
