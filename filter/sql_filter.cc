// SPDX-License-Identifier: Apache-2.0
#include "filter/sql_filter.h"

#include "filter/sql_compiler.h"

#include <utility>

namespace gantry::filter {

Result<SqlFilterPtr> SqlFilter::compile(std::string_view expression) {
    GANTRY_ASSIGN_OR_RETURN(SqlProgram program, compile_sql(expression));
    return SqlFilterPtr(std::make_shared<const SqlFilter>(std::move(program)));
}

Result<SqlFilterPtr> SqlFilters::get(std::string_view expression) {
    if (!is_enabled_) {
        return Error{Errc::kUnsupported,
                     "The broker does not support consumer to filter message by SQL92: its "
                     "setting filter.sql is off"};
    }
    if (expression.size() > kSqlBytesMax) {
        return SqlFilter::compile(expression);
    }
    const MutexLock lock(mutex_);
    if (const auto at = by_text_.find(expression); at != by_text_.end()) {
        kept_.splice(kept_.begin(), kept_, at->second);
        return kept_.front().filter;
    }
    kept_.push_front({std::string(expression), SqlFilter::compile(expression)});
    by_text_.emplace(kept_.front().text, kept_.begin());
    ++compiled_;
    if (kept_.size() > kKept) {
        by_text_.erase(kept_.back().text);
        kept_.pop_back();
    }
    return kept_.front().filter;
}

std::size_t SqlFilters::compiled() const {
    const MutexLock lock(mutex_);
    return compiled_;
}

}  // namespace gantry::filter
