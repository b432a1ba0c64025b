// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace gantry::filter {

/// A value in an SQL92 expression: NULL, a literal, or the text of a message's property. The text
/// is not owned.
struct SqlValue {
    /// Literals are typed as RocketMQ types them: whole numbers by whether 32 bits hold them.
    enum class Kind : std::uint8_t { kNull, kBoolean, kInt32, kInt64, kDouble, kText };

    Kind kind = Kind::kNull;
    bool boolean = false;
    std::int64_t number = 0;
    double real = 0;
    std::string_view text;

    /// TRUE or FALSE.
    static SqlValue of(bool value) noexcept;
    /// A floating-point number.
    static SqlValue of(double value) noexcept;
    /// Text, which is not copied.
    static SqlValue of(std::string_view value) noexcept;
    /// kInt32 when it fits.
    static SqlValue of_number(std::int64_t value) noexcept;

    bool is_number() const noexcept {
        return kind == Kind::kInt32 || kind == Kind::kInt64 || kind == Kind::kDouble;
    }
};

/// How two values stand to one another. kFailed: one is text and not of the other's type, which
/// ends the evaluation: the message does not match.
enum class SqlOrder : std::uint8_t { kLess, kEqual, kGreater, kFailed };

/// Compares two values that are not NULL. Text is converted to the type of the other side, by the
/// rules of Java's Integer, Long, Double and Boolean.valueOf; two texts compare byte by byte. A
/// boolean and a number are never equal.
SqlOrder compare_values(const SqlValue& left, const SqlValue& right) noexcept;

/// As compare_values, for < <= > >= of two texts: as numbers.
SqlOrder compare_as_numbers(std::string_view left, std::string_view right) noexcept;

/// A whole number as Java's Integer or Long.valueOf takes it: a sign and decimal digits, nothing
/// else. Nothing when it is not one, or not in [min, max].
std::optional<std::int64_t> parse_whole(std::string_view text,
                                        std::int64_t min,
                                        std::int64_t max) noexcept;

/// A number as Java's Double.valueOf takes it: blanks around it, NaN, Infinity, decimal or
/// hexadecimal, with d or f behind it. Too large is infinite, too small is zero.
std::optional<double> parse_real(std::string_view text) noexcept;

}  // namespace gantry::filter
