// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_parser.h"

#include <algorithm>
#include <string>
#include <utility>

namespace gantry::filter {
namespace {

using Kind = SqlToken::Kind;
using Code = SqlStep::Code;

}  // namespace

Result<SqlTerm> SqlParser::equality(const SqlTerm& left) {
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm right, parse_comparison());
    GANTRY_TRY(check_not_null(left));
    GANTRY_TRY(check_not_null(right));
    const SqlValue* const first = constant(left);
    const SqlValue* const second = constant(right);
    if (first != nullptr && second != nullptr && first->kind == SqlValue::Kind::kBoolean &&
        second->kind != SqlValue::Kind::kBoolean) {
        return sql_error(right.token, "TRUE or FALSE cannot be compared with it");
    }
    emit(token.text == "=" ? Code::kEqual : Code::kNotEqual, left.operand, right.operand);
    return on_stack(token);
}

Result<SqlTerm> SqlParser::null_test(const SqlTerm& left) {
    const SqlToken token = take();
    const bool is_not = take_if(Kind::kNot);
    if (!take_if(Kind::kNull)) {
        return sql_error(peek(), "NULL or NOT NULL should follow IS");
    }
    emit(is_not ? Code::kIsNotNull : Code::kIsNull, left.operand);
    return on_stack(token);
}

Status SqlParser::check_ordered(const SqlTerm& term) const {
    const SqlValue* const value = constant(term);
    const bool is_no_number = value != nullptr && !value->is_number();
    if (is_no_number || term.operand.kind == SqlOperand::Kind::kStack) {
        return sql_error(term.token,
                         "only numbers and properties can be compared by <, <=, >, >= and BETWEEN");
    }
    return ok();
}

Status SqlParser::check_not_null(const SqlTerm& term) const {
    const SqlValue* const value = constant(term);
    if (value != nullptr && value->kind == SqlValue::Kind::kNull) {
        return sql_error(term.token, "nothing is equal to NULL: use IS NULL or IS NOT NULL");
    }
    return ok();
}

Result<SqlTerm> SqlParser::ordering(const SqlTerm& left) {
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm right, parse_unary());
    GANTRY_TRY(check_ordered(left));
    GANTRY_TRY(check_ordered(right));
    const bool has_equal = token.text.size() == 2;
    Code code = has_equal ? Code::kGreaterEqual : Code::kGreater;
    if (token.text[0] == '<') {
        code = has_equal ? Code::kLessEqual : Code::kLess;
    }
    emit(code, left.operand, right.operand);
    return on_stack(token);
}

Result<SqlTerm> SqlParser::between(const SqlTerm& left, bool is_not) {
    at_ += is_not ? 1 : 0;
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm low, parse_unary());
    if (!take_if(Kind::kAnd)) {
        return sql_error(peek(), "AND and the upper end should follow BETWEEN and the lower end");
    }
    GANTRY_ASSIGN_OR_RETURN(const SqlTerm high, parse_unary());
    for (const SqlTerm* const term : {&left, &low, &high}) {
        GANTRY_TRY(check_ordered(*term));
    }
    const SqlValue* const first = constant(low);
    const SqlValue* const last = constant(high);
    if (!is_not && first != nullptr && last != nullptr &&
        compare_values(*last, *first) == SqlOrder::kLess) {
        return sql_error(low.token, "the lower end of BETWEEN is above the upper end");
    }
    emit(is_not ? Code::kLess : Code::kGreaterEqual, left.operand, low.operand);
    const std::size_t skip = emit(is_not ? Code::kSkipIfTrue : Code::kSkipIfFalse);
    emit(is_not ? Code::kGreater : Code::kLessEqual, left.operand, high.operand);
    emit(is_not ? Code::kOr : Code::kAnd);
    land({skip});
    return on_stack(token);
}

Result<SqlTerm> SqlParser::member(const SqlTerm& left, bool is_not) {
    at_ += is_not ? 1 : 0;
    const SqlToken token = take();
    if (left.operand.kind != SqlOperand::Kind::kProperty) {
        return sql_error(left.token, "IN needs a property before it");
    }
    GANTRY_TRY(expect_sign("("));
    std::vector<std::string> set;
    do {
        GANTRY_ASSIGN_OR_RETURN(const SqlToken text, expect_text());
        set.push_back(unquoted(text));
    } while (peek().is_sign(",") && take().is_sign(","));
    GANTRY_TRY(expect_sign(")"));
    std::sort(set.begin(), set.end());
    const auto index = static_cast<std::uint16_t>(program_.sets.size());
    program_.sets.push_back(std::move(set));
    emit(is_not ? Code::kNotIn : Code::kIn, left.operand, {SqlOperand::Kind::kNothing, index});
    return on_stack(token);
}

Result<SqlTerm> SqlParser::search(const SqlTerm& left, bool is_not) {
    at_ += is_not ? 1 : 0;
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const SqlToken text, expect_text());
    GANTRY_ASSIGN_OR_RETURN(const SqlOperand what, add_text(text));
    Code code = is_not ? Code::kNotContains : Code::kContains;
    if (token.kind == Kind::kStartsWith) {
        code = is_not ? Code::kNotStartsWith : Code::kStartsWith;
    } else if (token.kind == Kind::kEndsWith) {
        code = is_not ? Code::kNotEndsWith : Code::kEndsWith;
    }
    emit(code, left.operand, what);
    return on_stack(token);
}

Result<SqlTerm> SqlParser::negative(const SqlTerm& of) {
    const SqlValue* const value = constant(of);
    const bool is_no_number = value != nullptr && !value->is_number();
    if (is_no_number || of.operand.kind == SqlOperand::Kind::kStack) {
        return sql_error(of.token, "- needs a number behind it");
    }
    if (value == nullptr) {
        return SqlTerm{{SqlOperand::Kind::kNothing, 0}, of.token};
    }
    SqlValue negated = *value;
    negated.number = -negated.number;
    negated.real = -negated.real;
    return add_constant(negated, of.token);
}

}  // namespace gantry::filter
