// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faults/not_run.h"

#include <cstdio>

namespace gantry::harness {

void say_not_run(const std::string& reason) {
    std::printf("not run: %s\n", reason.c_str());
    std::fflush(stdout);
}

}  // namespace gantry::harness
