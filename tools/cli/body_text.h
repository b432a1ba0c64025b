// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace gantry::cli {

/// Whether the bytes are UTF-8.
bool is_utf8(std::string_view text);

/// Padded, without line ends.
std::string base64(std::string_view bytes);

/// Two lower-case digits a byte.
std::string hex(std::string_view bytes);

/// For a terminal: control characters and what is not ASCII as \xNN, a backslash doubled, unless
/// the whole is UTF-8; then only control characters.
std::string printable(std::string_view bytes);

}  // namespace gantry::cli
