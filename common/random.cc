// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"

#include <chrono>
#include <sys/random.h>

namespace gantry {

std::uint64_t random_seed() noexcept {
    std::uint64_t seed = 0;
    if (::getrandom(&seed, sizeof(seed), 0) != static_cast<ssize_t>(sizeof(seed))) {
        seed =
            static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    }
    return seed;
}

}  // namespace gantry
