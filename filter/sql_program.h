// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "filter/sql_value.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::filter {

/// What an expression says of a message. kUnknown is SQL's third truth value; kFailed: a property
/// could not be read as the number it was compared with. Only kTrue is delivered.
enum class Verdict : std::uint8_t { kFalse, kTrue, kUnknown, kFailed };

/// Where a step finds a value.
struct SqlOperand {
    /// Which of the program's tables, if any.
    enum class Kind : std::uint8_t {
        kProperty,  ///< of the message, by index into SqlProgram::names
        kConstant,  ///< by index into SqlProgram::constants
        kStack,     ///< the truth value that an earlier step left
        kNothing,   ///< NULL: the negative of what is no number
    };

    Kind kind = Kind::kNothing;
    std::uint16_t index = 0;
};

/// One step of the evaluation. Steps take truth values off a stack and leave one.
struct SqlStep {
    /// What it does; comparisons take `left` and `right`.
    enum class Code : std::uint8_t {
        kTruth,  ///< leaves `left`; a text or number is no truth value and leaves FALSE
        kEqual,
        kNotEqual,
        kLess,
        kLessEqual,
        kGreater,
        kGreaterEqual,
        kIn,  ///< right.index: of SqlProgram::sets
        kNotIn,
        kIsNull,
        kIsNotNull,
        kContains,
        kNotContains,
        kStartsWith,
        kNotStartsWith,
        kEndsWith,
        kNotEndsWith,
        kNot,
        kAnd,  ///< of the last two on the stack
        kOr,
        kSkipIfFalse,  ///< goes on at `target` when the last on the stack is FALSE, and keeps it
        kSkipIfTrue,
    };

    Code code = Code::kTruth;
    SqlOperand left, right;
    std::uint32_t target = 0;
};

/// A compiled expression: made by compile_sql, then never changed.
///
///   price > 3 AND (kind = 'a' OR kind IS NULL)
///
///   0  >                 price, 3         4  IS NULL  kind
///   1  skip if FALSE to  7                5  OR
///   2  =                 kind, 'a'        6  AND
///   3  skip if TRUE to   6
///
/// Threads   run: any number at once.
struct SqlProgram {
    static constexpr std::size_t kPropertiesMax = 64;
    static constexpr std::size_t kStackMax = 256;

    SqlProgram() = default;
    SqlProgram(SqlProgram&&) = default;
    SqlProgram& operator=(SqlProgram&&) = default;
    SqlProgram(const SqlProgram&) = delete;
    SqlProgram& operator=(const SqlProgram&) = delete;
    ~SqlProgram() = default;

    /// Finds the properties in place and goes over the steps. Allocates nothing; takes any bytes.
    Verdict run(std::string_view properties) const noexcept;

    std::vector<SqlStep> steps;
    std::vector<std::string> names;
    std::vector<SqlValue> constants;             ///< their texts are in `texts`
    std::vector<std::vector<std::string>> sets;  ///< sorted
    std::deque<std::string> texts;
};

}  // namespace gantry::filter
