// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/properties.h"

namespace gantry::wire {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool has_separator(std::string_view text) noexcept {
    return text.find(kNameValueSeparator) != std::string_view::npos ||
           text.find(kPropertySeparator) != std::string_view::npos;
}

std::string shown(std::string_view text) {
    return '"' + std::string(text.substr(0, 64)) + '"';
}

// Takes one code point off the front; malformed bytes become one replacement character each.
char32_t next_code_point(std::string_view& text) noexcept {
    const auto byte_at = [&text](std::size_t i) -> std::uint32_t {
        return static_cast<unsigned char>(text[i]);
    };
    const std::uint32_t first = byte_at(0);
    std::size_t length = 1;
    char32_t value = first;
    char32_t smallest = 0;
    if (first >= 0xF0 && first < 0xF8) {
        length = 4;
        value = first & 0x07U;
        smallest = 0x10000;
    } else if (first >= 0xE0 && first < 0xF0) {
        length = 3;
        value = first & 0x0FU;
        smallest = 0x800;
    } else if (first >= 0xC0 && first < 0xE0) {
        length = 2;
        value = first & 0x1FU;
        smallest = 0x80;
    } else if (first >= 0x80) {
        value = kReplacement;
    }
    bool is_valid = length <= text.size();
    for (std::size_t i = 1; is_valid && i < length; ++i) {
        is_valid = (byte_at(i) & 0xC0U) == 0x80U;
        value = (value << 6U) | (byte_at(i) & 0x3FU);
    }
    is_valid =
        is_valid && value >= smallest && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
    text.remove_prefix(is_valid ? length : 1);
    return is_valid ? value : kReplacement;
}

}  // namespace

std::string_view find_property(std::string_view properties, std::string_view name) noexcept {
    std::string_view found;
    for_each_property(properties, [&](std::string_view each_name, std::string_view value) {
        if (each_name == name) {
            found = value;
        }
    });
    return found;
}

Status append_property(std::string& properties, std::string_view name, std::string_view value) {
    if (name.empty() || value.empty()) {
        return Error{Errc::kRefused,
                     "property " + shown(name) + (name.empty() ? ": empty name" : ": empty value")};
    }
    if (has_separator(name) || has_separator(value)) {
        return Error{Errc::kRefused,
                     "property " + shown(name) + ": name or value contains byte 1 or 2"};
    }
    if (!properties.empty() && properties.back() != kPropertySeparator) {
        properties += kPropertySeparator;
    }
    properties.append(name) += kNameValueSeparator;
    properties.append(value);
    return ok();
}

std::string without_property(std::string_view properties, std::string_view name) {
    std::string kept;
    kept.reserve(properties.size());
    for_each_property(properties, [&](std::string_view each_name, std::string_view value) {
        if (each_name == name) {
            return;
        }
        if (!kept.empty()) {
            kept += kPropertySeparator;
        }
        kept.append(each_name) += kNameValueSeparator;
        kept.append(value);
    });
    return kept;
}

std::int64_t tag_hash(std::string_view tag) noexcept {
    std::uint32_t hash = 0;
    while (!tag.empty()) {
        const char32_t c = next_code_point(tag);
        if (c >= 0x10000) {
            hash = 31 * hash + (0xD7C0U + (c >> 10U));
            hash = 31 * hash + (0xDC00U | (c & 0x3FFU));
        } else {
            hash = 31 * hash + c;
        }
    }
    return static_cast<std::int32_t>(hash);
}

}  // namespace gantry::wire
