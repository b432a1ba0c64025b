// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <system_error>

namespace gantry::filter {
namespace {

constexpr std::int64_t kInt32Min = std::numeric_limits<std::int32_t>::min();
constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kInt64Min = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();

constexpr std::string_view kTrue = "true";

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

bool is_true(std::string_view text) noexcept {
    return text.size() == kTrue.size() &&
           std::equal(text.begin(), text.end(), kTrue.begin(), [](char a, char b) {
               return lower(a) == b;
           });
}

template <class Number>
SqlOrder order_of(Number left, Number right) noexcept {
    if (left == right) {
        return SqlOrder::kEqual;
    }
    return left < right ? SqlOrder::kLess : SqlOrder::kGreater;
}

/// Java's Double.compareTo: -0.0 is below 0.0, NaN equals itself and is above everything.
SqlOrder order_of(double left, double right) noexcept {
    if (left < right) {
        return SqlOrder::kLess;
    }
    if (left > right) {
        return SqlOrder::kGreater;
    }
    if (std::isnan(left) || std::isnan(right)) {
        return order_of<int>(std::isnan(left) ? 1 : 0, std::isnan(right) ? 1 : 0);
    }
    return order_of<int>(std::signbit(left) ? 0 : 1, std::signbit(right) ? 0 : 1);
}

SqlOrder reversed(SqlOrder order) noexcept {
    switch (order) {
        case SqlOrder::kLess:
            return SqlOrder::kGreater;
        case SqlOrder::kGreater:
            return SqlOrder::kLess;
        default:
            return order;
    }
}

template <class Value>
SqlOrder order_of(const std::optional<Value>& left, Value right) noexcept {
    return left ? order_of(*left, right) : SqlOrder::kFailed;
}

SqlOrder compare_text(std::string_view text, const SqlValue& right) noexcept {
    switch (right.kind) {
        case SqlValue::Kind::kBoolean:
            return order_of<int>(is_true(text) ? 1 : 0, right.boolean ? 1 : 0);
        case SqlValue::Kind::kInt32:
            return order_of(parse_whole(text, kInt32Min, kInt32Max), right.number);
        case SqlValue::Kind::kInt64:
            return order_of(parse_whole(text, kInt64Min, kInt64Max), right.number);
        case SqlValue::Kind::kDouble:
            return order_of(parse_real(text), right.real);
        case SqlValue::Kind::kText:
            return order_of(text.compare(right.text), 0);
        case SqlValue::Kind::kNull:
            break;
    }
    return SqlOrder::kFailed;
}

double as_real(const SqlValue& value) noexcept {
    return value.kind == SqlValue::Kind::kDouble ? value.real : static_cast<double>(value.number);
}

/// Whether a decimal number that no double holds is too large, rather than too small.
bool is_huge(std::string_view text) noexcept {
    const std::size_t mark = std::min(text.find_first_of("eE"), text.size());
    const std::string_view digits = text.substr(0, mark);
    const std::size_t point = std::min(digits.find('.'), digits.size());
    const std::size_t first = digits.find_first_not_of("0.");
    const auto at = static_cast<std::int64_t>(std::min(first, digits.size()));
    const std::int64_t scale = static_cast<std::int64_t>(point) - at;
    std::int64_t exponent = 0;
    if (mark < text.size()) {
        std::string_view power = text.substr(mark + 1);
        power.remove_prefix(power.starts_with('+') ? 1 : 0);
        const auto read = std::from_chars(power.data(), power.data() + power.size(), exponent);
        if (read.ec == std::errc::result_out_of_range) {
            return !power.starts_with('-');
        }
    }
    return exponent > -scale;
}

/// A number without its sign, its blanks and its suffix.
std::optional<double> parse_decimal(std::string_view text) noexcept {
    const bool has_digit =
        !text.empty() &&
        (is_digit(text[0]) || (text.size() > 1 && text[0] == '.' && is_digit(text[1])));
    if (!has_digit) {
        return std::nullopt;
    }
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value, std::chars_format::general);
    if (read.ptr != end) {
        return std::nullopt;
    }
    if (read.ec == std::errc::result_out_of_range) {
        return is_huge(text) ? std::numeric_limits<double>::infinity() : 0.0;
    }
    return read.ec == std::errc{} ? std::optional(value) : std::nullopt;
}

/// What follows 0x; the exponent is a must.
std::optional<double> parse_hexadecimal(std::string_view text) noexcept {
    const std::size_t mark = text.find_first_of("pP");
    if (mark == std::string_view::npos || mark == 0 || text[0] == '-') {
        return std::nullopt;
    }
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value, std::chars_format::hex);
    if (read.ptr != end) {
        return std::nullopt;
    }
    if (read.ec == std::errc::result_out_of_range) {
        return text.find('-', mark) == std::string_view::npos
                   ? std::numeric_limits<double>::infinity()
                   : 0.0;
    }
    return read.ec == std::errc{} ? std::optional(value) : std::nullopt;
}

std::string_view without_blanks(std::string_view text) noexcept {
    const auto is_blank = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

std::optional<double> parse_unsigned(std::string_view text) noexcept {
    if (text == "NaN") {
        return std::numeric_limits<double>::quiet_NaN();
    }
    if (text == "Infinity") {
        return std::numeric_limits<double>::infinity();
    }
    if (!text.empty() && std::string_view("dDfF").find(text.back()) != std::string_view::npos) {
        text.remove_suffix(1);
    }
    if (text.starts_with("0x") || text.starts_with("0X")) {
        return parse_hexadecimal(text.substr(2));
    }
    return parse_decimal(text);
}

}  // namespace

SqlValue SqlValue::of(bool value) noexcept {
    SqlValue made;
    made.kind = Kind::kBoolean;
    made.boolean = value;
    return made;
}

SqlValue SqlValue::of(double value) noexcept {
    SqlValue made;
    made.kind = Kind::kDouble;
    made.real = value;
    return made;
}

SqlValue SqlValue::of(std::string_view value) noexcept {
    SqlValue made;
    made.kind = Kind::kText;
    made.text = value;
    return made;
}

SqlValue SqlValue::of_number(std::int64_t value) noexcept {
    SqlValue made;
    made.kind = value >= kInt32Min && value <= kInt32Max ? Kind::kInt32 : Kind::kInt64;
    made.number = value;
    return made;
}

std::optional<std::int64_t> parse_whole(std::string_view text,
                                        std::int64_t min,
                                        std::int64_t max) noexcept {
    if (text.starts_with('+')) {
        text.remove_prefix(1);
        if (text.starts_with('-')) {
            return std::nullopt;
        }
    }
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end || value < min || value > max) {
        return std::nullopt;
    }
    return value;
}

std::optional<double> parse_real(std::string_view text) noexcept {
    text = without_blanks(text);
    const bool is_negative = text.starts_with('-');
    if (is_negative || text.starts_with('+')) {
        text.remove_prefix(1);
    }
    const std::optional<double> value = parse_unsigned(text);
    return value && is_negative ? std::optional(-*value) : value;
}

SqlOrder compare_values(const SqlValue& left, const SqlValue& right) noexcept {
    using Kind = SqlValue::Kind;
    if (left.kind == Kind::kText) {
        return compare_text(left.text, right);
    }
    if (right.kind == Kind::kText) {
        return reversed(compare_text(right.text, left));
    }
    if (left.kind == Kind::kBoolean && right.kind == Kind::kBoolean) {
        return order_of<int>(left.boolean ? 1 : 0, right.boolean ? 1 : 0);
    }
    if (!left.is_number() || !right.is_number()) {
        return SqlOrder::kLess;
    }
    if (left.kind == Kind::kDouble || right.kind == Kind::kDouble) {
        return order_of(as_real(left), as_real(right));
    }
    return order_of(left.number, right.number);
}

SqlOrder compare_as_numbers(std::string_view left, std::string_view right) noexcept {
    const std::optional<double> first = parse_real(left);
    const std::optional<double> second = parse_real(right);
    return first && second ? order_of(*first, *second) : SqlOrder::kFailed;
}

}  // namespace gantry::filter
