// SPDX-License-Identifier: Apache-2.0
#include "bench/options.h"
#include "bench/report.h"
#include "bench/run.h"
#include "common/log.h"

#include <iostream>

/// Exit codes: 0 good, 1 failed or the checker found loss or disorder, 2 usage.
int main(int argc, char** argv) {
    gantry::LogOptions log;
    log.level = gantry::LogLevel::kError;
    if (!gantry::set_up_log(log)) {
        return 1;
    }
    const auto options = gantry::bench::parse_options(argc, argv);
    if (!options) {
        std::cerr << "gantry-bench: " << gantry::to_string(options.error()) << '\n';
        return 2;
    }
    if (options->command.empty()) {
        return 0;
    }
    const auto report = gantry::bench::run(*options);
    if (!report) {
        std::cerr << "gantry-bench: " << gantry::to_string(report.error()) << '\n';
        return 1;
    }
    std::cout << (options->json ? gantry::bench::json_of(*options, *report)
                                : gantry::bench::text_of(*options, *report));
    return report->good() ? 0 : 1;
}
