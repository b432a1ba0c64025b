// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "filter/sql_lexer.h"
#include "filter/sql_program.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::filter {

/// What was read of a value: where it will be found, and where it began.
struct SqlTerm {
    SqlOperand operand;
    SqlToken token;
};

/// Turns tokens into a program by recursive descent; writes steps as it goes. The grammar and the
/// errors: compile_sql.
///
/// Threads   one. Lifetime: for one compile().
class SqlParser {
public:
    explicit SqlParser(std::vector<SqlToken> tokens) : tokens_(std::move(tokens)) {}

    /// Once.
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

    Result<SqlTerm> parse_or();
    Result<SqlTerm> parse_and();
    Result<SqlTerm> parse_not();
    Result<SqlTerm> parse_equality();
    Result<SqlTerm> parse_comparison();
    Result<SqlTerm> parse_unary();
    Result<SqlTerm> parse_primary();
    Result<SqlTerm> parse_literal();
    Result<SqlTerm> parse_whole_number();
    Result<SqlTerm> parse_real_number();

    Result<SqlTerm> equality(const SqlTerm& left);
    Result<SqlTerm> null_test(const SqlTerm& left);
    Result<SqlTerm> ordering(const SqlTerm& left);
    Result<SqlTerm> between(const SqlTerm& left, bool is_not);
    Result<SqlTerm> member(const SqlTerm& left, bool is_not);
    Result<SqlTerm> search(const SqlTerm& left, bool is_not);
    Result<SqlTerm> negative(const SqlTerm& of);

    Status check_depth() const;
    Status make_truth(const SqlTerm& term);
    Status check_ordered(const SqlTerm& term) const;
    Status check_not_null(const SqlTerm& term) const;
    Result<SqlTerm> add_constant(const SqlValue& value, const SqlToken& token);
    Result<SqlOperand> add_text(const SqlToken& token);
    Result<SqlOperand> add_property(const SqlToken& token);

    const SqlToken& peek() const noexcept { return tokens_[at_]; }

    const SqlToken& after() const noexcept {
        return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
    }

    const SqlToken& take() noexcept {
        const SqlToken& token = peek();
        at_ += token.kind == SqlToken::Kind::kEnd ? 0 : 1;
        return token;
    }

    bool take_if(SqlToken::Kind kind) noexcept {
        const bool is_it = peek().kind == kind;
        at_ += is_it ? 1 : 0;
        return is_it;
    }

    Status expect_sign(std::string_view sign);
    Result<SqlToken> expect_text();

    std::size_t emit(SqlStep::Code code, SqlOperand left = {}, SqlOperand right = {});

    void land(const std::vector<std::size_t>& skips) {
        for (const std::size_t skip : skips) {
            program_.steps[skip].target = static_cast<std::uint32_t>(program_.steps.size());
        }
    }

    static SqlTerm on_stack(const SqlToken& token) {
        return {{SqlOperand::Kind::kStack, 0}, token};
    }

    const SqlValue* constant(const SqlTerm& term) const {
        return term.operand.kind == SqlOperand::Kind::kConstant
                   ? &program_.constants[term.operand.index]
                   : nullptr;
    }

    std::vector<SqlToken> tokens_;
    std::size_t at_ = 0;
    std::size_t depth_ = 0;
    SqlProgram program_;
};

}  // namespace gantry::filter
