// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/tag_filter.h"
#include "common/result.h"
#include "filter/sql_filter.h"

#include <string_view>

namespace gantry::broker {

/// Which messages a subscription takes: by tag, by SQL92 expression, or all. Tags are looked up in
/// the consume queue, without the message; an expression asks its properties.
struct MessageFilter {
    TagFilter tags;            ///< null: any
    filter::SqlFilterPtr sql;  ///< null: any
};

/// What a client subscribes by: its expression and the type of it, empty or "TAG", or "SQL92".
struct Expression {
    std::string_view type;
    std::string_view text;
};

/// kRefused: the expression does not parse. kUnsupported: there is no such type here.
Result<MessageFilter> parse_expression(const Expression& expression, filter::SqlFilters& filters);

}  // namespace gantry::broker
