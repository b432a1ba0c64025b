// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace gantry::wire {

inline constexpr std::size_t kJsonDepthMax = 32;

/// What fastjson writes and reads beyond JSON, rewritten as JSON: bare and single-quoted names,
/// bare numeric map keys, and objects as map keys, which become strings that hold their JSON.
/// Blanks are dropped. Anything else is passed on for a JSON parser to judge. kCorrupt: nested
/// deeper than kJsonDepthMax, an unfinished string, or an object key inside an object key.
Result<std::string> strict_json(std::string_view text);

}  // namespace gantry::wire
