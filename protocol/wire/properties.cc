// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/properties.h"

#include "protocol/wire/codec/utf8.h"

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
    constexpr unsigned char kAsciiEnd = 0x80;
    std::uint32_t hash = 0;
    while (!tag.empty()) {
        // Most tags are ASCII: one unit of UTF-16 a byte.
        if (const auto byte = static_cast<unsigned char>(tag.front()); byte < kAsciiEnd) {
            hash = 31 * hash + byte;
            tag.remove_prefix(1);
            continue;
        }
        const char32_t c = next_code_point(tag).value_or(kReplacement);
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
