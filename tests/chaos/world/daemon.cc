// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/world/daemon.h"

#include <csignal>
#include <fstream>
#include <system_error>

namespace gantry::chaos {

namespace fs = std::filesystem;

Daemon::Daemon(const Network& network, Options options) : options_(std::move(options)) {
    const std::vector<std::string> launcher = network.launcher(options_.host);
    options_.command.insert(options_.command.begin(), launcher.begin(), launcher.end());
}

Status Daemon::start() {
    if (is_running()) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(
        process_,
        harness::Process::start(options_.command.front(),
                                {options_.command.begin() + 1, options_.command.end()},
                                options_.directory,
                                options_.name));
    is_frozen_ = false;
    is_ended_ = false;
    return ok();
}

void Daemon::kill() {
    is_ended_ = true;
    if (process_) {
        process_->kill();
    }
    is_frozen_ = false;
}

void Daemon::terminate() {
    is_ended_ = true;
    if (is_running()) {
        ::kill(process_->pid(), SIGTERM);
    }
}

void Daemon::freeze() {
    if (is_running()) {
        process_->pause();
        is_frozen_ = true;
    }
}

void Daemon::thaw() {
    if (is_frozen_ && is_running()) {
        process_->resume();
    }
    is_frozen_ = false;
}

Status Daemon::wipe() {
    kill();
    std::error_code error;
    fs::path aside = data();
    aside += ".wiped-" + std::to_string(++wiped_);
    fs::rename(data(), aside, error);
    if (!error) {
        fs::remove_all(aside, error);
    }
    return error ? Status(io_error(data().string(), error.value())) : ok();
}

std::pair<std::uint64_t, std::size_t> Daemon::usage() {
    if (!is_running()) {
        return {};
    }
    const fs::path proc = "/proc/" + std::to_string(process_->pid());
    std::uint64_t kilobytes = 0;
    std::ifstream status(proc / "status");
    for (std::string word; status >> word;) {
        if (word == "RssAnon:") {
            status >> kilobytes;
        }
    }
    std::error_code error;
    std::size_t count = 0;
    for (fs::directory_iterator it(proc / "fd", error), end; !error && it != end;
         it.increment(error)) {
        ++count;
    }
    return {kilobytes << 10U, count};
}

}  // namespace gantry::chaos
