// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/unique_fd.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <sys/types.h>

namespace gantry::storage {

/// How long threads that were ready to run waited for a processor, as the kernel counts it
/// (/proc/thread-self/schedstat).
///
/// Units     nanoseconds. Threads: one at a time; each call is about the thread it comes from.
/// Errors    a kernel without that file: never a sample.
/// Limits    one sample in kInterval of a thread; a descriptor for each thread that ever asked.
class RunDelay {
public:
    static constexpr std::chrono::milliseconds kInterval{10};

    /// What one thread waited within `elapsed`.
    struct Sample {
        std::chrono::nanoseconds waited{};
        std::chrono::nanoseconds elapsed{};
    };

    /// Of the calling thread since its last sample; nothing at its first call, and too soon.
    std::optional<Sample> sample(SteadyTime now);

private:
    struct Thread {
        UniqueFd file;
        std::chrono::nanoseconds waited{};
        SteadyTime at;
    };

    std::map<pid_t, Thread> threads_;
};

}  // namespace gantry::storage
