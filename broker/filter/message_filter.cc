// SPDX-License-Identifier: Apache-2.0
#include "broker/filter/message_filter.h"

#include <string>
#include <utility>

namespace gantry::broker {

Result<MessageFilter> parse_expression(const Expression& expression, filter::SqlFilters& filters) {
    MessageFilter filter;
    if (expression.type.empty() || expression.type == "TAG") {
        GANTRY_ASSIGN_OR_RETURN(filter.tags, parse_tag_expression(expression.text));
        return filter;
    }
    if (expression.type == "SQL92") {
        GANTRY_ASSIGN_OR_RETURN(filter.sql, filters.get(expression.text));
        return filter;
    }
    return Error{Errc::kUnsupported,
                 "The broker does not support consumer to filter message by " +
                     std::string(expression.type)};
}

}  // namespace gantry::broker
