// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/harness/process.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace gantry::harness {

/// What a program that ended by itself printed, and its exit code.
struct ProgramRun {
    int code = -1;  ///< -1: ended by a signal
    std::string out;
    std::string err;
};

/// Runs a program to its end. kTimeout when it does not end within `limit`; then it is killed.
Result<ProgramRun> run_program(const std::filesystem::path& executable,
                               const std::vector<std::string>& arguments,
                               std::chrono::milliseconds limit = Process::kPatience);

/// gantry-bench, as built beside the tests.
std::filesystem::path bench_executable();

/// gantry, as built beside the tests.
std::filesystem::path cli_executable();

}  // namespace gantry::harness
