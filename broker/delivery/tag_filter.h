// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// The tag hashes a subscription takes, sorted out once. Null stands for "everything".
using TagFilter = std::shared_ptr<const std::vector<std::int64_t>>;

/// Parses "*", "" (everything) or "TagA || TagB". kRefused: bars without any tag.
Result<TagFilter> parse_tag_expression(std::string_view expression);

}  // namespace gantry::broker
