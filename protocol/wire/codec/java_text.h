// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::wire {

// Text as RocketMQ's peers written in Java read and write it.

/// Integer.parseInt and Long.parseLong: a sign and decimal digits, nothing else.
std::optional<std::int64_t> parse_java_int64(std::string_view text) noexcept;
std::optional<std::int32_t> parse_java_int32(std::string_view text) noexcept;
std::optional<std::uint64_t> parse_uint64(std::string_view text) noexcept;

/// Double.parseDouble, without its hexadecimal form.
std::optional<double> parse_java_double(std::string_view text) noexcept;

/// Boolean.parseBoolean: true only for "true" in any case.
bool parse_java_bool(std::string_view text) noexcept;

/// Double.toString: "0.5", "10.0", "1.0E10".
void append_java_double(std::string& out, double value);

/// Appends `text` as a JSON string, escaped as fastjson does: quote, backslash and control
/// characters; everything else as it is.
void append_json_string(std::string& out, std::string_view text);

}  // namespace gantry::wire
