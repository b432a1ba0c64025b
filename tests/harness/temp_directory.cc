// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/temp_directory.h"

#include "common/check.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

namespace gantry::harness {

TempDirectory::TempDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "gantry-test-XXXXXX";
    const char* const made = ::mkdtemp(pattern.data());
    GANTRY_ASSERT(made != nullptr);
    path_ = made;
}

TempDirectory::~TempDirectory() {
    if (std::getenv("GANTRY_TEST_KEEP") != nullptr) {
        std::fprintf(stderr, "kept %s\n", path_.c_str());
        return;
    }
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace gantry::harness
