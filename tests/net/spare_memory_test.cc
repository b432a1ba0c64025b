// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/spare_memory.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace gantry::net {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

std::unique_ptr<std::byte[]> touched(std::size_t bytes) {
    auto made = std::make_unique_for_overwrite<std::byte[]>(bytes);
    std::memset(made.get(), 1, bytes);
    return made;
}

/// Memory as frames that wait take it: much, in pieces, with what stays between them.
struct Burst {
    explicit Burst(std::size_t bytes) {
        constexpr std::size_t kPiece = 64'000;  // too little for a mapping of its own
        for (std::size_t taken = 0; taken < bytes; taken += kPiece) {
            pieces.push_back(touched(kPiece));
            stays.push_back(touched(100));
        }
    }

    std::vector<std::unique_ptr<std::byte[]>> pieces;
    std::vector<std::unique_ptr<std::byte[]>> stays;
};

}  // namespace

TEST_SUITE("common/spare_memory") {
    TEST_CASE("what a burst of another thread has freed is given back, once") {
        SpareMemory spare(16 * kMiB);
        static_cast<void>(spare.look());
        std::unique_ptr<Burst> burst;
        std::thread([&] { burst = std::make_unique<Burst>(64 * kMiB); }).join();
        CHECK(spare.look() < 16 * kMiB);  // it is in use
        burst->pieces.clear();
        CHECK(spare.look() > 56 * kMiB);
        CHECK(spare.look() == 0);
    }

    TEST_CASE("a little stays for the next burst") {
        SpareMemory spare(16 * kMiB);
        static_cast<void>(spare.look());
        Burst burst(8 * kMiB);
        burst.pieces.clear();
        CHECK(spare.look() == 0);
    }
}

}  // namespace gantry::net
