// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/process.h"

#include "common/mutex.h"
#include "common/unique_fd.h"
#include "tests/harness/wait.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace gantry::harness {
namespace {

constexpr int kExecFailed = 127;

std::uintmax_t size_of(const std::filesystem::path& path) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
}

std::string read_from(const std::filesystem::path& path, std::uintmax_t start) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(start));
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct EndedOutputs {
    Mutex mutex;
    std::deque<std::string> last GANTRY_GUARDED_BY(mutex);
};

EndedOutputs& ended_outputs() {
    static EndedOutputs outputs;
    return outputs;
}

void keep_output(const std::filesystem::path& path, std::uintmax_t start) {
    constexpr std::size_t kProcessesMax = 12;
    constexpr std::uintmax_t kBytesMax = 3'000;
    const std::uintmax_t size = size_of(path);
    const std::uintmax_t from = std::max(start, size - std::min(size, kBytesMax));
    std::string text = "-- " + path.filename().string() + '\n' + read_from(path, from);
    EndedOutputs& outputs = ended_outputs();
    const MutexLock lock(outputs.mutex);
    outputs.last.push_back(std::move(text));
    if (outputs.last.size() > kProcessesMax) {
        outputs.last.pop_front();
    }
}

/// Becomes the program. Between fork and exec only calls that are safe after the fork of a process
/// with threads.
[[noreturn]] void run_child(char* const* arguments, int out, int err) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(input, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    ::execv(arguments[0], arguments);
    ::_exit(kExecFailed);
}

}  // namespace

Process::Process(Private, pid_t pid, std::filesystem::path out, std::filesystem::path err)
    : pid_(pid), out_path_(std::move(out)), err_path_(std::move(err)) {}

Result<std::unique_ptr<Process>> Process::start(const std::filesystem::path& executable,
                                                const std::vector<std::string>& arguments,
                                                const std::filesystem::path& directory,
                                                const std::string& name) {
    const std::filesystem::path out_path = directory / (name + ".out");
    const std::filesystem::path err_path = directory / (name + ".err");
    const std::uintmax_t out_start = size_of(out_path);
    const std::uintmax_t err_start = size_of(err_path);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    const UniqueFd out(::open(out_path.c_str(), kFlags, 0600));
    const UniqueFd err(::open(err_path.c_str(), kFlags, 0600));
    if (!out || !err) {
        return io_error(out_path.string(), errno);
    }
    std::vector<std::string> owned{executable.string()};
    owned.insert(owned.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& argument : owned) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) {
        return io_error("fork", errno);
    }
    if (pid == 0) {
        run_child(argv.data(), out.get(), err.get());
    }
    auto process = std::make_unique<Process>(Private{}, pid, out_path, err_path);
    process->out_start_ = out_start;
    process->err_start_ = err_start;
    return process;
}

Process::~Process() {
    kill();
    keep_output(err_path_, err_start_);
}

bool Process::poll_exit() {
    if (exit_) {
        return true;
    }
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) {
        return false;
    }
    exit_ =
        WIFEXITED(status) ? ProcessExit{WEXITSTATUS(status), 0} : ProcessExit{-1, WTERMSIG(status)};
    return true;
}

bool Process::is_running() {
    return !poll_exit();
}

Result<ReadyPorts> Process::wait_ready(std::chrono::milliseconds limit) {
    ReadyPorts ports;
    bool is_ready = false;
    wait_until(limit, [&] {
        const bool has_ended = poll_exit();
        const std::string text = out();
        const std::size_t at = text.find("READY ");
        unsigned port = 0;
        unsigned http = 0;
        if (at != std::string::npos && text.find('\n', at) != std::string::npos &&
            std::sscanf(text.c_str() + at, "READY port=%u http=%u", &port, &http) == 2) {
            ports = {static_cast<std::uint16_t>(port), static_cast<std::uint16_t>(http)};
            is_ready = true;
        }
        return is_ready || has_ended;
    });
    if (is_ready) {
        return ports;
    }
    if (exit_) {
        return Error{Errc::kGone,
                     "ended with code " + std::to_string(exit_->code) + ", signal " +
                         std::to_string(exit_->signal) + " before READY: " + err()};
    }
    return Error{Errc::kTimeout, "no READY line; standard error: " + err()};
}

Result<ProcessExit> Process::wait_exit(std::chrono::milliseconds limit) {
    if (!wait_until(limit, [this] { return poll_exit(); })) {
        return Error{Errc::kTimeout, "still running; standard error: " + err()};
    }
    return *exit_;
}

Result<ProcessExit> Process::stop() {
    if (is_running()) {
        ::kill(pid_, SIGTERM);
    }
    return wait_exit();
}

void Process::kill() {
    if (poll_exit()) {
        return;
    }
    ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    exit_ =
        WIFEXITED(status) ? ProcessExit{WEXITSTATUS(status), 0} : ProcessExit{-1, WTERMSIG(status)};
}

void Process::pause() {
    ::kill(pid_, SIGSTOP);
}

void Process::resume() {
    ::kill(pid_, SIGCONT);
}

std::string Process::out() const {
    return read_from(out_path_, out_start_);
}

std::string Process::err() const {
    return read_from(err_path_, err_start_);
}

std::vector<std::string> take_ended_outputs() {
    EndedOutputs& outputs = ended_outputs();
    const MutexLock lock(outputs.mutex);
    std::vector<std::string> taken(outputs.last.begin(), outputs.last.end());
    outputs.last.clear();
    return taken;
}

}  // namespace gantry::harness
