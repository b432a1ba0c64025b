// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/faults/syscall_faults.h"

#include "tests/harness/wait.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStrace = "/usr/bin/strace";

std::string first_line(const fs::path& path) {
    std::string line;
    std::getline(std::ifstream(path), line);
    return line;
}

fs::path threads_of(pid_t pid) {
    return fs::path("/proc") / std::to_string(pid) / "task";
}

/// The thread that calls itself so.
std::optional<std::string> find_thread(pid_t pid, const std::string& name) {
    std::error_code failed;
    for (const fs::directory_entry& task : fs::directory_iterator(threads_of(pid), failed)) {
        if (first_line(task.path() / "comm") == name) {
            return task.path().filename().string();
        }
    }
    return std::nullopt;
}

bool is_traced(const fs::path& task) {
    std::ifstream status(task / "status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("TracerPid:")) {
            return line.find_first_of("123456789") != std::string::npos;
        }
    }
    return false;
}

bool are_traced(pid_t pid, const std::string& thread) {
    if (!thread.empty()) {
        return is_traced(threads_of(pid) / thread);
    }
    std::error_code failed;
    for (const fs::directory_entry& task : fs::directory_iterator(threads_of(pid), failed)) {
        if (!is_traced(task.path())) {
            return false;
        }
    }
    return !failed;
}

}  // namespace

Result<std::unique_ptr<SyscallFaults>> SyscallFaults::attach(pid_t pid,
                                                             const std::string& thread,
                                                             const std::string& inject) {
    if (::access(kStrace, X_OK) != 0) {
        return Error{Errc::kDenied, std::string(kStrace) + " is not installed"};
    }
    std::string task;
    if (!thread.empty()) {
        const std::optional<std::string> found = find_thread(pid, thread);
        if (!found) {
            return Error{Errc::kNotFound, "no thread " + thread};
        }
        task = *found;
    }
    const std::string call = inject.substr(0, inject.find(':'));
    std::vector<std::string> arguments{"-qq", "-o", "/dev/null", "-e", "trace=" + call};
    arguments.insert(arguments.end(), {"-e", "inject=" + inject});
    if (task.empty()) {
        arguments.push_back("-f");
    }
    arguments.insert(arguments.end(), {"-p", task.empty() ? std::to_string(pid) : task});
    auto faults = std::make_unique<SyscallFaults>(Private{});
    GANTRY_ASSIGN_OR_RETURN(
        faults->strace_, Process::start(kStrace, arguments, faults->directory_.path(), "strace"));
    const bool is_done = wait_until(Process::kPatience, [&] {
        return are_traced(pid, task) || !faults->strace_->is_running();
    });
    if (!is_done || !faults->strace_->is_running()) {
        return Error{Errc::kDenied, "strace cannot trace: " + faults->strace_->err()};
    }
    return faults;
}

SyscallFaults::~SyscallFaults() {
    if (strace_) {
        static_cast<void>(strace_->stop());
    }
}

}  // namespace gantry::harness
