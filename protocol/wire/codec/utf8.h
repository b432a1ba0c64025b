// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace gantry::wire {

/// Takes one code point off the front of `text`, which is not empty; one byte and nothing where
/// the bytes are malformed.
std::optional<char32_t> next_code_point(std::string_view& text) noexcept;

/// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates.
bool is_utf8(std::string_view text) noexcept;

}  // namespace gantry::wire
