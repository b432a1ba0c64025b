// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/wait.h"

#include <thread>

namespace gantry::harness {

bool wait_until(std::chrono::milliseconds limit, const std::function<bool()>& predicate) {
    constexpr std::chrono::milliseconds kPeriod{2};
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!predicate()) {
        if (std::chrono::steady_clock::now() >= deadline) {
            return predicate();
        }
        std::this_thread::sleep_for(kPeriod);
    }
    return true;
}

}  // namespace gantry::harness
