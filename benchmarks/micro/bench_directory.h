// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace gantry {

/// A fresh directory for a benchmark, removed at the end: below GANTRY_BENCH_DIR, else below the
/// temporary directory. Ends the process when none can be made.
class BenchDirectory {
public:
    BenchDirectory() {
        const char* const chosen = std::getenv("GANTRY_BENCH_DIR");
        const std::filesystem::path parent =
            chosen != nullptr ? chosen : std::filesystem::temp_directory_path().c_str();
        std::string pattern = (parent / "gantry-bench-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) {
            std::abort();
        }
        path_ = pattern;
    }

    BenchDirectory(const BenchDirectory&) = delete;
    BenchDirectory& operator=(const BenchDirectory&) = delete;

    ~BenchDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace gantry
