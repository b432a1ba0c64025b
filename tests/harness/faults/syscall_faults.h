// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/harness/process.h"
#include "tests/harness/temp_directory.h"

#include <memory>
#include <string>
#include <sys/types.h>

namespace gantry::harness {

/// System calls of a running process that fail, lie or take long, by `strace`; as long as this
/// object lives.
///
/// Needs strace and the right to trace: kDenied without.
class SyscallFaults {
    struct Private {};

public:
    /// `inject` is that of strace, e.g. "fdatasync:error=EIO:when=1". Counts calls from now on; of
    /// the thread of that name, or of each thread when it is empty. Returns once it works.
    static Result<std::unique_ptr<SyscallFaults>> attach(pid_t pid,
                                                         const std::string& thread,
                                                         const std::string& inject);

    /// For attach only.
    explicit SyscallFaults(Private) {}

    ~SyscallFaults();
    SyscallFaults(const SyscallFaults&) = delete;
    SyscallFaults& operator=(const SyscallFaults&) = delete;

private:
    TempDirectory directory_;
    std::unique_ptr<Process> strace_;
};

}  // namespace gantry::harness
