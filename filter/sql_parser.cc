// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_parser.h"

#include "filter/sql_compiler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace gantry::filter {
namespace {

using Kind = SqlToken::Kind;
using Code = SqlStep::Code;

constexpr std::int64_t kInt64Min = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kConstantsMax = 8'192;
static_assert(kConstantsMax <= std::numeric_limits<std::uint16_t>::max());
// Each level leaves at most three truth values: of an OR, an AND and an equality that go on.
static_assert(3 * (kSqlDepthMax + 1) < SqlProgram::kStackMax);

}  // namespace

Result<SqlProgram> SqlParser::compile() {
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm whole, parse_or());
    if (peek().kind != Kind::kEnd) {
        return sql_error(peek(),
                         "the expression should end here, or go on with AND, OR or an operator; "
                         "LIKE, functions and arithmetic are not part of it");
    }
    GANTRY_TRY(make_truth(whole));
    return std::move(program_);
}

std::size_t SqlParser::emit(Code code, SqlOperand left, SqlOperand right) {
    program_.steps.push_back({code, left, right, 0});
    return program_.steps.size() - 1;
}

Status SqlParser::check_depth() const {
    if (depth_ > kSqlDepthMax) {
        return sql_error(peek(),
                         "parentheses, NOTs and signs nest " + std::to_string(depth_) +
                             " deep > limit " + std::to_string(kSqlDepthMax));
    }
    return ok();
}

/// Leaves the term on the stack as a truth value.
Status SqlParser::make_truth(const SqlTerm& term) {
    const SqlValue* const value = constant(term);
    const bool is_value = value != nullptr && value->kind != SqlValue::Kind::kNull &&
                          value->kind != SqlValue::Kind::kBoolean;
    if (is_value || term.operand.kind == SqlOperand::Kind::kNothing) {
        return sql_error(term.token, "a condition is needed, not a value");
    }
    if (term.operand.kind != SqlOperand::Kind::kStack) {
        emit(Code::kTruth, term.operand);
    }
    return ok();
}

Result<SqlTerm> SqlParser::parse_or() {
    GANTRY_ASSIGN_OR_RETURN(SqlTerm left, parse_and());
    std::vector<std::size_t> skips;
    while (peek().kind == Kind::kOr) {
        const SqlToken token = take();
        if (skips.empty()) {
            GANTRY_TRY(make_truth(left));
        }
        skips.push_back(emit(Code::kSkipIfTrue));
        GANTRY_ASSIGN_OR_RETURN(const SqlTerm right, parse_and());
        GANTRY_TRY(make_truth(right));
        emit(Code::kOr);
        left = on_stack(token);
    }
    land(skips);
    return left;
}

Result<SqlTerm> SqlParser::parse_and() {
    GANTRY_ASSIGN_OR_RETURN(SqlTerm left, parse_not());
    std::vector<std::size_t> skips;
    while (peek().kind == Kind::kAnd) {
        const SqlToken token = take();
        if (skips.empty()) {
            GANTRY_TRY(make_truth(left));
        }
        skips.push_back(emit(Code::kSkipIfFalse));
        GANTRY_ASSIGN_OR_RETURN(const SqlTerm right, parse_not());
        GANTRY_TRY(make_truth(right));
        emit(Code::kAnd);
        left = on_stack(token);
    }
    land(skips);
    return left;
}

Result<SqlTerm> SqlParser::parse_not() {
    if (peek().kind != Kind::kNot) {
        return parse_equality();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm inner, parse_not());
    GANTRY_TRY(make_truth(inner));
    emit(Code::kNot);
    return on_stack(token);
}

Result<SqlTerm> SqlParser::parse_equality() {
    GANTRY_ASSIGN_OR_RETURN(SqlTerm left, parse_comparison());
    for (;;) {
        if (peek().is_sign("=") || peek().is_sign("<>")) {
            GANTRY_ASSIGN_OR_RETURN(left, equality(left));
        } else if (peek().kind == Kind::kIs) {
            GANTRY_ASSIGN_OR_RETURN(left, null_test(left));
        } else {
            return left;
        }
    }
}

Result<SqlTerm> SqlParser::parse_comparison() {
    GANTRY_ASSIGN_OR_RETURN(SqlTerm left, parse_unary());
    for (;;) {
        const bool is_not = peek().kind == Kind::kNot;
        switch (is_not ? after().kind : peek().kind) {
            case Kind::kBetween: {
                GANTRY_ASSIGN_OR_RETURN(left, between(left, is_not));
                break;
            }
            case Kind::kIn: {
                GANTRY_ASSIGN_OR_RETURN(left, member(left, is_not));
                break;
            }
            case Kind::kContains:
            case Kind::kStartsWith:
            case Kind::kEndsWith: {
                GANTRY_ASSIGN_OR_RETURN(left, search(left, is_not));
                break;
            }
            default: {
                const bool is_order = peek().is_sign("<") || peek().is_sign("<=") ||
                                      peek().is_sign(">") || peek().is_sign(">=");
                if (!is_order) {
                    return left;
                }
                GANTRY_ASSIGN_OR_RETURN(left, ordering(left));
            }
        }
    }
}

Result<SqlTerm> SqlParser::parse_unary() {
    const bool has_sign = peek().is_sign("+") || peek().is_sign("-");
    if (!has_sign && peek().kind != Kind::kNot) {
        return parse_primary();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm inner, parse_unary());
    if (token.text == "+") {
        return inner;
    }
    if (token.text == "-") {
        return negative(inner);
    }
    GANTRY_TRY(make_truth(inner));
    emit(Code::kNot);
    return on_stack(token);
}

Result<SqlTerm> SqlParser::parse_primary() {
    if (peek().kind == Kind::kName) {
        const SqlToken token = take();
        GANTRY_ASSIGN_OR_RETURN(const SqlOperand property, add_property(token));
        return SqlTerm{property, token};
    }
    if (!peek().is_sign("(")) {
        return parse_literal();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm inner, parse_or());
    GANTRY_TRY(expect_sign(")"));
    return inner;
}

Result<SqlTerm> SqlParser::parse_literal() {
    switch (peek().kind) {
        case Kind::kText: {
            const SqlToken token = take();
            GANTRY_ASSIGN_OR_RETURN(const SqlOperand text, add_text(token));
            return SqlTerm{text, token};
        }
        case Kind::kWhole:
            return parse_whole_number();
        case Kind::kReal:
            return parse_real_number();
        case Kind::kTrue:
        case Kind::kFalse: {
            const SqlToken token = take();
            return add_constant(SqlValue::of(token.kind == Kind::kTrue), token);
        }
        case Kind::kNull: {
            const SqlToken token = take();
            return add_constant(SqlValue(), token);
        }
        default:
            return sql_error(peek(), "a property, a value or a parenthesis should be here");
    }
}

Result<SqlTerm> SqlParser::parse_whole_number() {
    const SqlToken token = take();
    std::string_view digits = token.text;
    digits.remove_suffix(digits.ends_with('l') || digits.ends_with('L') ? 1 : 0);
    const auto value = parse_whole(digits, kInt64Min, kInt64Max);
    if (!value) {
        return sql_error(token, "the number is above " + std::to_string(kInt64Max));
    }
    return add_constant(SqlValue::of_number(*value), token);
}

Result<SqlTerm> SqlParser::parse_real_number() {
    const SqlToken token = take();
    const auto value = parse_real(token.text);
    const std::string_view mantissa = token.text.substr(0, token.text.find_first_of("eE"));
    const bool is_zero = mantissa.find_first_not_of("0.") == std::string_view::npos;
    if (!value || std::isinf(*value) || (*value == 0 && !is_zero)) {
        return sql_error(token, "no 64-bit floating-point number is as large or as small");
    }
    return add_constant(SqlValue::of(*value), token);
}

Result<SqlTerm> SqlParser::add_constant(const SqlValue& value, const SqlToken& token) {
    if (program_.constants.size() == kConstantsMax) {
        return sql_error(token, "more values than the limit " + std::to_string(kConstantsMax));
    }
    program_.constants.push_back(value);
    const auto index = static_cast<std::uint16_t>(program_.constants.size() - 1);
    return SqlTerm{{SqlOperand::Kind::kConstant, index}, token};
}

Result<SqlOperand> SqlParser::add_text(const SqlToken& token) {
    program_.texts.push_back(unquoted(token));
    const std::string_view text = program_.texts.back();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm term, add_constant(SqlValue::of(text), token));
    return term.operand;
}

Result<SqlOperand> SqlParser::add_property(const SqlToken& token) {
    std::vector<std::string>& names = program_.names;
    const auto known = std::find(names.begin(), names.end(), token.text);
    const auto index = static_cast<std::uint16_t>(known - names.begin());
    if (known == names.end()) {
        if (names.size() == SqlProgram::kPropertiesMax) {
            return sql_error(token,
                             "more different properties than the limit " +
                                 std::to_string(SqlProgram::kPropertiesMax));
        }
        names.emplace_back(token.text);
    }
    return SqlOperand{SqlOperand::Kind::kProperty, index};
}

Status SqlParser::expect_sign(std::string_view sign) {
    if (!peek().is_sign(sign)) {
        return sql_error(peek(), "\"" + std::string(sign) + "\" should be here");
    }
    take();
    return ok();
}

Result<SqlToken> SqlParser::expect_text() {
    if (peek().kind != Kind::kText) {
        return sql_error(peek(), "a 'text' in single quotes should be here");
    }
    return take();
}

}  // namespace gantry::filter
