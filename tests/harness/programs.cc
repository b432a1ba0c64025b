// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/programs.h"

#include "tests/harness/temp_directory.h"

#include <memory>

namespace gantry::harness {

Result<ProgramRun> run_program(const std::filesystem::path& executable,
                               const std::vector<std::string>& arguments,
                               std::chrono::milliseconds limit) {
    const TempDirectory directory;
    GANTRY_ASSIGN_OR_RETURN(
        const std::unique_ptr<Process> process,
        Process::start(executable, arguments, directory.path(), executable.filename()));
    GANTRY_ASSIGN_OR_RETURN(const ProcessExit exit, process->wait_exit(limit));
    return ProgramRun{exit.code, process->out(), process->err()};
}

std::filesystem::path bench_executable() {
    return GANTRY_BENCH_EXECUTABLE;
}

std::filesystem::path cli_executable() {
    return GANTRY_CLI_EXECUTABLE;
}

}  // namespace gantry::harness
