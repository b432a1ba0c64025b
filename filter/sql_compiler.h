// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "filter/sql_program.h"

#include <cstddef>
#include <string_view>

namespace gantry::filter {

/// Bytes of an expression.
inline constexpr std::size_t kSqlBytesMax = 16'384;
/// Parentheses, NOTs and signs inside one another.
inline constexpr std::size_t kSqlDepthMax = 64;

/// Compiles an expression of RocketMQ's SQL92, as docs/guide/filters.md has it:
///
///   or         := and { OR and }
///   and        := not { AND not }
///   not        := NOT not | equality
///   equality   := comparison { (= | <>) comparison | IS [NOT] NULL }
///   comparison := unary { (< | <= | > | >=) unary | [NOT] BETWEEN unary AND unary
///                       | [NOT] IN ( text { , text } )
///                       | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text }
///   unary      := (+ | - | NOT) unary | primary
///   primary    := property | text | number | TRUE | FALSE | NULL | ( or )
///
/// kRefused names the position, what stands there, and the rule or the limit.
Result<SqlProgram> compile_sql(std::string_view expression);

}  // namespace gantry::filter
