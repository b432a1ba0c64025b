// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_program.h"

#include "protocol/wire/properties.h"

#include <algorithm>
#include <array>
#include <functional>

namespace gantry::filter {
namespace {

using Code = SqlStep::Code;

Verdict verdict(bool value) noexcept {
    return value ? Verdict::kTrue : Verdict::kFalse;
}

Verdict opposite(Verdict value) noexcept {
    if (value == Verdict::kTrue || value == Verdict::kFalse) {
        return verdict(value == Verdict::kFalse);
    }
    return value;
}

Verdict both(Verdict left, Verdict right) noexcept {
    if (left == Verdict::kFalse || right == Verdict::kFalse) {
        return Verdict::kFalse;
    }
    return left == Verdict::kTrue ? right : left;
}

Verdict either(Verdict left, Verdict right) noexcept {
    if (left == Verdict::kTrue || right == Verdict::kTrue) {
        return Verdict::kTrue;
    }
    return left == Verdict::kFalse ? right : left;
}

Verdict by_order(Code code, SqlOrder order) noexcept {
    switch (code) {
        case Code::kEqual:
            return verdict(order == SqlOrder::kEqual);
        case Code::kNotEqual:
            return verdict(order != SqlOrder::kEqual);
        case Code::kLess:
            return verdict(order == SqlOrder::kLess);
        case Code::kLessEqual:
            return verdict(order != SqlOrder::kGreater);
        case Code::kGreater:
            return verdict(order == SqlOrder::kGreater);
        default:
            return verdict(order != SqlOrder::kLess);
    }
}

Verdict compare(Code code, const SqlValue& left, const SqlValue& right) noexcept {
    using Kind = SqlValue::Kind;
    if (left.kind == Kind::kNull || right.kind == Kind::kNull) {
        return Verdict::kUnknown;
    }
    const bool is_equality = code == Code::kEqual || code == Code::kNotEqual;
    const bool are_texts = left.kind == Kind::kText && right.kind == Kind::kText;
    const SqlOrder order = are_texts && !is_equality ? compare_as_numbers(left.text, right.text)
                                                     : compare_values(left, right);
    return order == SqlOrder::kFailed ? Verdict::kFailed : by_order(code, order);
}

/// Of CONTAINS and its like: NULL and the empty text are in nothing, and not in nothing either.
Verdict search(Code code, const SqlValue& where, std::string_view what) noexcept {
    if (where.kind != SqlValue::Kind::kText || what.empty()) {
        return Verdict::kFalse;
    }
    switch (code) {
        case Code::kContains:
        case Code::kNotContains:
            return verdict((where.text.find(what) != std::string_view::npos) ==
                           (code == Code::kContains));
        case Code::kStartsWith:
        case Code::kNotStartsWith:
            return verdict(where.text.starts_with(what) == (code == Code::kStartsWith));
        default:
            return verdict(where.text.ends_with(what) == (code == Code::kEndsWith));
    }
}

/// One evaluation: the message's properties, and the truth values so far.
class SqlRun {
public:
    explicit SqlRun(const SqlProgram& program) noexcept : program_(program) {}

    void find_properties(std::string_view properties) noexcept;
    Verdict run() noexcept;

private:
    SqlValue value(SqlOperand operand) noexcept;
    Verdict take(const SqlStep& step) noexcept;
    Verdict member(const SqlStep& step) noexcept;

    void push(Verdict value) noexcept { stack_[top_++] = value; }

    Verdict pop() noexcept { return stack_[--top_]; }

    const SqlProgram& program_;
    std::array<std::string_view, SqlProgram::kPropertiesMax> found_;
    std::array<Verdict, SqlProgram::kStackMax> stack_;
    std::size_t top_ = 0;
};

void SqlRun::find_properties(std::string_view properties) noexcept {
    const std::vector<std::string>& names = program_.names;
    std::fill_n(found_.begin(), names.size(), std::string_view());
    wire::for_each_property(properties, [&](std::string_view name, std::string_view value) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (names[i] == name) {
                found_[i] = value;
                return;
            }
        }
    });
}

SqlValue SqlRun::value(SqlOperand operand) noexcept {
    switch (operand.kind) {
        case SqlOperand::Kind::kProperty: {
            const std::string_view text = found_[operand.index];
            return text.empty() ? SqlValue() : SqlValue::of(text);
        }
        case SqlOperand::Kind::kConstant:
            return program_.constants[operand.index];
        case SqlOperand::Kind::kStack: {
            const Verdict truth = pop();
            return truth == Verdict::kUnknown ? SqlValue() : SqlValue::of(truth == Verdict::kTrue);
        }
        case SqlOperand::Kind::kNothing:
            break;
    }
    return {};
}

Verdict SqlRun::member(const SqlStep& step) noexcept {
    const SqlValue looked_for = value(step.left);
    if (looked_for.kind != SqlValue::Kind::kText) {
        return Verdict::kUnknown;
    }
    const std::vector<std::string>& set = program_.sets[step.right.index];
    const bool is_in = std::binary_search(set.begin(), set.end(), looked_for.text, std::less<>());
    return verdict(is_in == (step.code == Code::kIn));
}

Verdict SqlRun::take(const SqlStep& step) noexcept {
    switch (step.code) {
        case Code::kTruth: {
            const SqlValue truth = value(step.left);
            return truth.kind == SqlValue::Kind::kNull
                       ? Verdict::kUnknown
                       : verdict(truth.kind == SqlValue::Kind::kBoolean && truth.boolean);
        }
        case Code::kIn:
        case Code::kNotIn:
            return member(step);
        case Code::kIsNull:
        case Code::kIsNotNull:
            return verdict((value(step.left).kind == SqlValue::Kind::kNull) ==
                           (step.code == Code::kIsNull));
        case Code::kNot:
            return opposite(pop());
        case Code::kAnd:
        case Code::kOr: {
            const Verdict right = pop();
            return step.code == Code::kAnd ? both(pop(), right) : either(pop(), right);
        }
        default: {
            // The right one was left last.
            const SqlValue right = value(step.right);
            const SqlValue left = value(step.left);
            return step.code < Code::kIn ? compare(step.code, left, right)
                                         : search(step.code, left, right.text);
        }
    }
}

Verdict SqlRun::run() noexcept {
    const std::vector<SqlStep>& steps = program_.steps;
    for (std::size_t at = 0; at < steps.size();) {
        const SqlStep& step = steps[at++];
        if (step.code == Code::kSkipIfFalse || step.code == Code::kSkipIfTrue) {
            const Verdict decided =
                step.code == Code::kSkipIfFalse ? Verdict::kFalse : Verdict::kTrue;
            at = stack_[top_ - 1] == decided ? step.target : at;
            continue;
        }
        const Verdict left = take(step);
        if (left == Verdict::kFailed) {
            return left;
        }
        push(left);
    }
    return top_ == 1 ? stack_[0] : Verdict::kFailed;
}

}  // namespace

Verdict SqlProgram::run(std::string_view properties) const noexcept {
    SqlRun run(*this);
    run.find_properties(properties);
    return run.run();
}

}  // namespace gantry::filter
