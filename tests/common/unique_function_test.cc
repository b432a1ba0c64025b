// SPDX-License-Identifier: Apache-2.0
#include "common/unique_function.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>

namespace gantry {

TEST_SUITE("common/unique_function") {
    TEST_CASE("small and large callables are called, moved and destroyed once") {
        auto alive = std::make_shared<int>(0);
        SUBCASE("inline") {
            UniqueFunction<int(int)> f = [alive](int n) { return n + 1; };
            CHECK(alive.use_count() == 2);
            UniqueFunction<int(int)> g = std::move(f);
            CHECK(alive.use_count() == 2);
            CHECK(g(1) == 2);
            CHECK(!f);  // NOLINT(bugprone-use-after-move): a moved-from function is empty
        }
        SUBCASE("on the heap") {
            const std::array<char, 100> padding{};
            UniqueFunction<int(int)> f = [alive, padding](int n) { return n + padding[0]; };
            UniqueFunction<int(int)> g;
            g = std::move(f);
            CHECK(g(3) == 3);
            CHECK(alive.use_count() == 2);
        }
        CHECK(alive.use_count() == 1);
    }
}

}  // namespace gantry
