// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace gantry::wire {

/// Appends `text` as a JSON string, escaped as fastjson does: quote, backslash and control
/// characters; everything else as it is.
void append_json_string(std::string& out, std::string_view text);

}  // namespace gantry::wire
