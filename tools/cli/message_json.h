// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"

#include <nlohmann/json.hpp>

namespace gantry::cli {

/// A message as `-o json` shows it; what is not UTF-8 goes into
/// body_base64, and of properties, names too, into properties_base64.
nlohmann::ordered_json json_of(const client::MessageView& message);

}  // namespace gantry::cli
