// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <optional>

namespace gantry::sync {

/// Where a command writes.
struct CommandStreams {
    std::ostream& out;
    std::ostream& err;
    bool is_terminal = false;  ///< `out` is one: its screen can be cleared
};

/// Runs the command that argv[1] names: check, status, translate. The exit code, as the CLI's: 0
/// done, 1 failure or a problem found, 2 usage, 3 not found, 4 unreachable or timed out, 5 denied,
/// 6 conflict. Nothing: it names none, the daemon is wanted.
std::optional<int> run_command(int argc, const char* const* argv, CommandStreams streams);

}  // namespace gantry::sync
