// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/options.h"
#include "cli/session.h"

namespace gantry::cli {

/// `gantry produce`: lines of a file or of standard input become messages.
Status produce(Session& session, const Given& given, const std::vector<std::string>& arguments);
void add_produce_options(Options& options);

/// `gantry consume`: messages become lines of standard output.
Status consume(Session& session, const Given& given, const std::vector<std::string>& arguments);
void add_consume_options(Options& options);

}  // namespace gantry::cli
