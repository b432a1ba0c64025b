// SPDX-License-Identifier: Apache-2.0
#include "storage/index/queue_index.h"

#include <doctest/doctest.h>

namespace gantry::storage {

TEST_SUITE("storage/queue_index") {
    TEST_CASE("a unit ends where its message ends") {
        const QueueUnit unit{LogOffset(1'000), 91, 7};
        CHECK(unit.end() == LogOffset(1'091));
        CHECK_FALSE(unit.is_hole());
        CHECK(QueueUnit{LogOffset(0), QueueUnit::kHoleSize, 0}.is_hole());
    }
}

}  // namespace gantry::storage
