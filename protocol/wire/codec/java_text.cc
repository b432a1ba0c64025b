// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/codec/java_text.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace gantry::wire {
namespace {

template <class T>
std::optional<T> parse_whole(std::string_view text) noexcept {
    if (text.starts_with('+')) {
        text.remove_prefix(1);
        if (text.starts_with('-')) {
            return std::nullopt;
        }
    }
    T value{};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end) {
        return std::nullopt;
    }
    return value;
}

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') {
        text.remove_prefix(1);
    }
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') {
        text.remove_suffix(1);
    }
    return text;
}

// Lays out the digits of a shortest round-trip representation d.ddd x 10^exponent plainly.
void append_plain(std::string& out, std::string_view digits, int exponent) {
    if (exponent < 0) {
        out += "0.";
        out.append(static_cast<std::size_t>(-exponent - 1), '0').append(digits);
        return;
    }
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() <= whole) {
        out.append(digits).append(whole - digits.size(), '0').append(".0");
        return;
    }
    out.append(digits.substr(0, whole)) += '.';
    out.append(digits.substr(whole));
}

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

std::optional<std::int64_t> parse_java_int64(std::string_view text) noexcept {
    return parse_whole<std::int64_t>(text);
}

std::optional<std::int32_t> parse_java_int32(std::string_view text) noexcept {
    return parse_whole<std::int32_t>(text);
}

std::optional<std::uint64_t> parse_uint64(std::string_view text) noexcept {
    return parse_whole<std::uint64_t>(text);
}

std::optional<double> parse_java_double(std::string_view text) noexcept {
    text = trimmed(text);
    if (text.ends_with('d') || text.ends_with('D') || text.ends_with('f') || text.ends_with('F')) {
        text.remove_suffix(1);
    }
    return parse_whole<double>(text);
}

bool parse_java_bool(std::string_view text) noexcept {
    constexpr std::string_view kTrue = "true";
    if (text.size() != kTrue.size()) {
        return false;
    }
    for (std::size_t i = 0; i < kTrue.size(); ++i) {
        if ((text[i] | 0x20) != kTrue[i]) {
            return false;
        }
    }
    return true;
}

void append_java_double(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        return;
    }
    if (std::signbit(value)) {
        out += '-';
        value = -value;
    }
    if (value == 0) {
        out += "0.0";
        return;
    }
    char text[40];
    const auto end =
        std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr;
    const std::string_view whole(text, static_cast<std::size_t>(end - text));
    const std::size_t e = whole.find('e');
    std::string digits(1, whole[0]);
    digits.append(e > 2 ? whole.substr(2, e - 2) : "");
    const auto exponent = parse_java_int32(whole.substr(e + 1)).value_or(0);
    if (value >= 1e-3 && value < 1e7) {
        append_plain(out, digits, exponent);
        return;
    }
    out += digits[0];
    out += '.';
    out += digits.size() > 1 ? digits.substr(1) : "0";
    out += 'E';
    out += std::to_string(exponent);
}

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
