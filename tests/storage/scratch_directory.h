// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace gantry::storage {

/// A fresh directory, removed with everything in it at the end of the scope.
class ScratchDirectory {
public:
    ScratchDirectory()
        : path_(std::filesystem::temp_directory_path() /
                ("gantry-scratch-" + std::to_string(random_seed()))) {
        std::filesystem::create_directories(path_);
    }

    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;

    ~ScratchDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

/// Seed of a random test: GANTRY_TEST_SEED, or a new one; printed so that a failure can be rerun.
inline std::uint64_t test_seed() {
    const char* const fixed = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed = fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : random_seed();
    std::printf("GANTRY_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return seed;
}

}  // namespace gantry::storage
