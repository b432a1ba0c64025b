// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace gantry::harness {

/// A new directory for one test, removed with everything in it at the end; kept, and named on
/// standard error, when the environment has GANTRY_TEST_KEEP.
class TempDirectory {
public:
    TempDirectory();
    ~TempDirectory();
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;

    const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace gantry::harness
