// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::filter {

/// A word or sign of an SQL92 expression.
struct SqlToken {
    /// What it is; keywords each their own.
    enum class Kind : std::uint8_t {
        kEnd,
        kName,   ///< of a property
        kText,   ///< 'in quotes'
        kWhole,  ///< 12 or 12L
        kReal,   ///< 1.5, .5, 5., 1e9
        kSign,   ///< = <> < <= > >= ( ) , + -
        kNot,
        kAnd,
        kOr,
        kBetween,
        kIn,
        kTrue,
        kFalse,
        kNull,
        kIs,
        kContains,
        kStartsWith,
        kEndsWith,
    };

    Kind kind = Kind::kEnd;
    std::size_t at = 0;     ///< bytes before it
    std::string_view text;  ///< as written

    bool is_sign(std::string_view sign) const noexcept {
        return kind == Kind::kSign && text == sign;
    }
};

/// Cuts an expression into tokens, the last of which is kEnd. Blanks, `-- comments` and
/// /* comments */ are skipped; keywords are known in any case. kRefused: a character that starts no
/// token, or a text or comment without an end; names the position and what stands there.
Result<std::vector<SqlToken>> cut_sql(std::string_view text);

/// What a kText token says: without its quotes, '' being one quote.
std::string unquoted(const SqlToken& token);

/// kRefused, with where in the expression and what stands there.
Error sql_error(const SqlToken& token, std::string_view why);

}  // namespace gantry::filter
