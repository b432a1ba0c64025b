// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_compiler.h"

#include "filter/sql_lexer.h"

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

/// What was read of a value: where it will be found, and where it began.
struct Term {
    SqlOperand operand;
    SqlToken token;
};

/// Recursive descent that writes steps as it goes.
class SqlCompiler {
public:
    explicit SqlCompiler(std::vector<SqlToken> tokens) : tokens_(std::move(tokens)) {}

    Result<SqlProgram> compile();

private:
    /// Counts levels as long as it lives.
    class Level {
    public:
        explicit Level(std::size_t& depth) : depth_(depth) { ++depth_; }

        ~Level() { --depth_; }

        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

    private:
        std::size_t& depth_;
    };

    Result<Term> parse_or();
    Result<Term> parse_and();
    Result<Term> parse_not();
    Result<Term> parse_equality();
    Result<Term> parse_comparison();
    Result<Term> parse_unary();
    Result<Term> parse_primary();
    Result<Term> parse_literal();
    Result<Term> parse_whole_number();
    Result<Term> parse_real_number();

    Result<Term> equality(const Term& left);
    Result<Term> null_test(const Term& left);
    Result<Term> ordering(const Term& left);
    Result<Term> between(const Term& left, bool is_not);
    Result<Term> member(const Term& left, bool is_not);
    Result<Term> search(const Term& left, bool is_not);
    Result<Term> negative(const Term& of);

    Status check_depth() const;
    Status make_truth(const Term& term);
    Status check_ordered(const Term& term) const;
    Status check_not_null(const Term& term) const;
    Result<Term> add_constant(const SqlValue& value, const SqlToken& token);
    Result<SqlOperand> add_text(const SqlToken& token);
    Result<SqlOperand> add_property(const SqlToken& token);

    const SqlToken& peek() const noexcept { return tokens_[at_]; }

    const SqlToken& after() const noexcept {
        return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    }

    const SqlToken& take() noexcept {
        const SqlToken& token = peek();
        at_ += token.kind == Kind::kEnd ? 0 : 1;
        return token;
    }

    bool take_if(Kind kind) noexcept {
        const bool is_it = peek().kind == kind;
        at_ += is_it ? 1 : 0;
        return is_it;
    }

    Status expect_sign(std::string_view sign);
    Result<SqlToken> expect_text();

    std::size_t emit(Code code, SqlOperand left = {}, SqlOperand right = {});

    void land(const std::vector<std::size_t>& skips) {
        for (const std::size_t skip : skips) {
            program_.steps[skip].target = static_cast<std::uint32_t>(program_.steps.size());
        }
    }

    static Term on_stack(const SqlToken& token) { return {{SqlOperand::Kind::kStack, 0}, token}; }

    const SqlValue* constant(const Term& term) const {
        return term.operand.kind == SqlOperand::Kind::kConstant
                   ? &program_.constants[term.operand.index]
                   : nullptr;
    }

    std::vector<SqlToken> tokens_;
    std::size_t at_ = 0;
    std::size_t depth_ = 0;
    SqlProgram program_;
};

Result<SqlProgram> SqlCompiler::compile() {
    GANTRY_ASSIGN_OR_RETURN(const Term whole, parse_or());
    if (peek().kind != Kind::kEnd) {
        return sql_error(peek(),
                         "the expression should end here, or go on with AND, OR or an operator; "
                         "LIKE, functions and arithmetic are not part of it");
    }
    GANTRY_TRY(make_truth(whole));
    return std::move(program_);
}

std::size_t SqlCompiler::emit(Code code, SqlOperand left, SqlOperand right) {
    program_.steps.push_back({code, left, right, 0});
    return program_.steps.size() - 1;
}

Status SqlCompiler::check_depth() const {
    if (depth_ > kSqlDepthMax) {
        return sql_error(peek(),
                         "parentheses, NOTs and signs nest " + std::to_string(depth_) +
                             " deep > limit " + std::to_string(kSqlDepthMax));
    }
    return ok();
}

/// Leaves the term on the stack as a truth value.
Status SqlCompiler::make_truth(const Term& term) {
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

Result<Term> SqlCompiler::parse_or() {
    GANTRY_ASSIGN_OR_RETURN(Term left, parse_and());
    std::vector<std::size_t> skips;
    while (peek().kind == Kind::kOr) {
        const SqlToken token = take();
        if (skips.empty()) {
            GANTRY_TRY(make_truth(left));
        }
        skips.push_back(emit(Code::kSkipIfTrue));
        GANTRY_ASSIGN_OR_RETURN(const Term right, parse_and());
        GANTRY_TRY(make_truth(right));
        emit(Code::kOr);
        left = on_stack(token);
    }
    land(skips);
    return left;
}

Result<Term> SqlCompiler::parse_and() {
    GANTRY_ASSIGN_OR_RETURN(Term left, parse_not());
    std::vector<std::size_t> skips;
    while (peek().kind == Kind::kAnd) {
        const SqlToken token = take();
        if (skips.empty()) {
            GANTRY_TRY(make_truth(left));
        }
        skips.push_back(emit(Code::kSkipIfFalse));
        GANTRY_ASSIGN_OR_RETURN(const Term right, parse_not());
        GANTRY_TRY(make_truth(right));
        emit(Code::kAnd);
        left = on_stack(token);
    }
    land(skips);
    return left;
}

Result<Term> SqlCompiler::parse_not() {
    if (peek().kind != Kind::kNot) {
        return parse_equality();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const Term inner, parse_not());
    GANTRY_TRY(make_truth(inner));
    emit(Code::kNot);
    return on_stack(token);
}

Result<Term> SqlCompiler::parse_equality() {
    GANTRY_ASSIGN_OR_RETURN(Term left, parse_comparison());
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

Result<Term> SqlCompiler::equality(const Term& left) {
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const Term right, parse_comparison());
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

Result<Term> SqlCompiler::null_test(const Term& left) {
    const SqlToken token = take();
    const bool is_not = take_if(Kind::kNot);
    if (!take_if(Kind::kNull)) {
        return sql_error(peek(), "NULL or NOT NULL should follow IS");
    }
    emit(is_not ? Code::kIsNotNull : Code::kIsNull, left.operand);
    return on_stack(token);
}

Result<Term> SqlCompiler::parse_comparison() {
    GANTRY_ASSIGN_OR_RETURN(Term left, parse_unary());
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

Status SqlCompiler::check_ordered(const Term& term) const {
    const SqlValue* const value = constant(term);
    const bool is_no_number = value != nullptr && !value->is_number();
    if (is_no_number || term.operand.kind == SqlOperand::Kind::kStack) {
        return sql_error(term.token,
                         "only numbers and properties can be compared by <, <=, >, >= and BETWEEN");
    }
    return ok();
}

Status SqlCompiler::check_not_null(const Term& term) const {
    const SqlValue* const value = constant(term);
    if (value != nullptr && value->kind == SqlValue::Kind::kNull) {
        return sql_error(term.token, "nothing is equal to NULL: use IS NULL or IS NOT NULL");
    }
    return ok();
}

Result<Term> SqlCompiler::ordering(const Term& left) {
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const Term right, parse_unary());
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

Result<Term> SqlCompiler::between(const Term& left, bool is_not) {
    at_ += is_not ? 1 : 0;
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const Term low, parse_unary());
    if (!take_if(Kind::kAnd)) {
        return sql_error(peek(), "AND and the upper end should follow BETWEEN and the lower end");
    }
    GANTRY_ASSIGN_OR_RETURN(const Term high, parse_unary());
    for (const Term* const term : {&left, &low, &high}) {
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

Result<Term> SqlCompiler::member(const Term& left, bool is_not) {
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

Result<Term> SqlCompiler::search(const Term& left, bool is_not) {
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

Result<Term> SqlCompiler::parse_unary() {
    const bool has_sign = peek().is_sign("+") || peek().is_sign("-");
    if (!has_sign && peek().kind != Kind::kNot) {
        return parse_primary();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    const SqlToken token = take();
    GANTRY_ASSIGN_OR_RETURN(const Term inner, parse_unary());
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

Result<Term> SqlCompiler::negative(const Term& of) {
    const SqlValue* const value = constant(of);
    const bool is_no_number = value != nullptr && !value->is_number();
    if (is_no_number || of.operand.kind == SqlOperand::Kind::kStack) {
        return sql_error(of.token, "- needs a number behind it");
    }
    if (value == nullptr) {
        return Term{{SqlOperand::Kind::kNothing, 0}, of.token};
    }
    SqlValue negated = *value;
    negated.number = -negated.number;
    negated.real = -negated.real;
    return add_constant(negated, of.token);
}

Result<Term> SqlCompiler::parse_primary() {
    if (peek().kind == Kind::kName) {
        const SqlToken token = take();
        GANTRY_ASSIGN_OR_RETURN(const SqlOperand property, add_property(token));
        return Term{property, token};
    }
    if (!peek().is_sign("(")) {
        return parse_literal();
    }
    const Level level(depth_);
    GANTRY_TRY(check_depth());
    take();
    GANTRY_ASSIGN_OR_RETURN(const Term inner, parse_or());
    GANTRY_TRY(expect_sign(")"));
    return inner;
}

Result<Term> SqlCompiler::parse_literal() {
    switch (peek().kind) {
        case Kind::kText: {
            const SqlToken token = take();
            GANTRY_ASSIGN_OR_RETURN(const SqlOperand text, add_text(token));
            return Term{text, token};
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

Result<Term> SqlCompiler::parse_whole_number() {
    const SqlToken token = take();
    std::string_view digits = token.text;
    digits.remove_suffix(digits.ends_with('l') || digits.ends_with('L') ? 1 : 0);
    const auto value = parse_whole(digits, kInt64Min, kInt64Max);
    if (!value) {
        return sql_error(token, "the number is above " + std::to_string(kInt64Max));
    }
    return add_constant(SqlValue::of_number(*value), token);
}

Result<Term> SqlCompiler::parse_real_number() {
    const SqlToken token = take();
    const auto value = parse_real(token.text);
    const std::string_view mantissa = token.text.substr(0, token.text.find_first_of("eE"));
    const bool is_zero = mantissa.find_first_not_of("0.") == std::string_view::npos;
    if (!value || std::isinf(*value) || (*value == 0 && !is_zero)) {
        return sql_error(token, "no 64-bit floating-point number is as large or as small");
    }
    return add_constant(SqlValue::of(*value), token);
}

Result<Term> SqlCompiler::add_constant(const SqlValue& value, const SqlToken& token) {
    if (program_.constants.size() == kConstantsMax) {
        return sql_error(token, "more values than the limit " + std::to_string(kConstantsMax));
    }
    program_.constants.push_back(value);
    const auto index = static_cast<std::uint16_t>(program_.constants.size() - 1);
    return Term{{SqlOperand::Kind::kConstant, index}, token};
}

Result<SqlOperand> SqlCompiler::add_text(const SqlToken& token) {
    program_.texts.push_back(unquoted(token));
    const std::string_view text = program_.texts.back();
    GANTRY_ASSIGN_OR_RETURN(const Term term, add_constant(SqlValue::of(text), token));
    return term.operand;
}

Result<SqlOperand> SqlCompiler::add_property(const SqlToken& token) {
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

Status SqlCompiler::expect_sign(std::string_view sign) {
    if (!peek().is_sign(sign)) {
        return sql_error(peek(), "\"" + std::string(sign) + "\" should be here");
    }
    take();
    return ok();
}

Result<SqlToken> SqlCompiler::expect_text() {
    if (peek().kind != Kind::kText) {
        return sql_error(peek(), "a 'text' in single quotes should be here");
    }
    return take();
}

}  // namespace

Result<SqlProgram> compile_sql(std::string_view expression) {
    if (expression.size() > kSqlBytesMax) {
        return Error{Errc::kRefused,
                     "SQL92 expression of " + std::to_string(expression.size()) + " B > limit " +
                         std::to_string(kSqlBytesMax) + " B"};
    }
    GANTRY_ASSIGN_OR_RETURN(std::vector<SqlToken> tokens, cut_sql(expression));
    return SqlCompiler(std::move(tokens)).compile();
}

}  // namespace gantry::filter
