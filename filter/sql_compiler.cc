// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_compiler.h"

#include "filter/sql_parser.h"

#include <string>
#include <utility>
#include <vector>

namespace gantry::filter {

Result<SqlProgram> compile_sql(std::string_view expression) {
    if (expression.size() > kSqlBytesMax) {
        return Error{Errc::kRefused,
                     "SQL92 expression of " + std::to_string(expression.size()) + " B > limit " +
                         std::to_string(kSqlBytesMax) + " B"};
    }
    GANTRY_ASSIGN_OR_RETURN(std::vector<SqlToken> tokens, cut_sql(expression));
    return SqlParser(std::move(tokens)).compile();
}

}  // namespace gantry::filter
