// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gantry::harness {

/// The ports a daemon printed in its READY line.
struct ReadyPorts {
    std::uint16_t port = 0;
    std::uint16_t http = 0;
};

/// How a process ended: by exit(code), or by a signal.
struct ProcessExit {
    int code = -1;   ///< -1: ended by a signal
    int signal = 0;  ///< 0: ended by exit
};

/// One child process, its output in two files. Killed when this object or the thread that started
/// it ends.
///
/// Errors    kIo from start; kTimeout and kGone (it ended first) from the waits, with what it wrote
///           to standard error.
/// Threads   one; the one that starts it lives as long.
class Process {
    struct Private {};

public:
    /// For start only.
    Process(Private, pid_t pid, std::filesystem::path out, std::filesystem::path err);

    static constexpr std::chrono::milliseconds kPatience{30'000};

    /// Runs `executable` with `arguments`. Output goes to `<directory>/<name>.out` and `.err`,
    /// which are appended to when they exist.
    static Result<std::unique_ptr<Process>> start(const std::filesystem::path& executable,
                                                  const std::vector<std::string>& arguments,
                                                  const std::filesystem::path& directory,
                                                  const std::string& name);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    /// Waits for the line `READY port=N http=M`.
    Result<ReadyPorts> wait_ready(std::chrono::milliseconds limit = kPatience);
    /// Waits until it has ended.
    Result<ProcessExit> wait_exit(std::chrono::milliseconds limit = kPatience);
    /// SIGTERM, then wait_exit.
    Result<ProcessExit> stop();
    /// SIGKILL, and waits until it is gone.
    void kill();
    /// SIGSTOP and SIGCONT.
    void pause();
    void resume();

    bool is_running();

    pid_t pid() const noexcept { return pid_; }

    /// What it wrote since it was started by this object.
    std::string out() const;
    std::string err() const;

private:
    bool poll_exit();

    pid_t pid_ = -1;
    std::optional<ProcessExit> exit_;
    std::filesystem::path out_path_;
    std::filesystem::path err_path_;
    std::uintmax_t out_start_ = 0;
    std::uintmax_t err_start_ = 0;
};

/// The ends of what the last few processes wrote to standard error whose objects are gone, oldest
/// first, each under a line with its name; forgets them. For who tells why a test failed.
///
/// Threads   any.
std::vector<std::string> take_ended_outputs();

}  // namespace gantry::harness
