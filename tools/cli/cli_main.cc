// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"
#include "common/log.h"

#include <exception>
#include <iostream>
#include <unistd.h>

int main(int argc, char** argv) {
    // A tool talks through its exit code and messages; the library's log only when something is
    // off.
    gantry::LogOptions log;
    log.level = gantry::LogLevel::kWarn;
    if (!gantry::set_up_log(log)) {
        return 1;
    }
    std::ios::sync_with_stdio(false);
    try {
        gantry::cli::Session session(
            {std::cin, std::cout, std::cerr, ::isatty(STDERR_FILENO) == 1});
        return gantry::cli::run_cli(argc, argv, session);
    } catch (const std::exception& e) {
        std::cerr << "gantry: " << e.what() << '\n';
        return 1;
    }
}
