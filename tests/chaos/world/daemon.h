// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/chaos/world/network.h"
#include "tests/harness/process.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::chaos {

/// A program of the cluster on its host: killed, frozen, started again with the same command.
class Daemon {
public:
    /// What to run where.
    struct Options {
        std::string name;  ///< of its output files too
        std::string host;
        std::vector<std::string> command;  ///< what Network::launcher says is put before it
        std::filesystem::path directory;   ///< of its output
        std::uint16_t port = 0;            ///< that clients use
        std::filesystem::path data{};      ///< what a new disk does not have
    };

    Daemon(const Network& network, Options options);

    const std::string& name() const noexcept { return options_.name; }

    const std::string& host() const noexcept { return options_.host; }

    std::uint16_t port() const noexcept { return options_.port; }

    const std::filesystem::path& data() const noexcept { return options_.data; }

    /// Starts it unless it runs; does not wait until it serves.
    Status start();
    void kill();
    void terminate();
    void freeze();
    void thaw();
    /// Kills it and puts its data out of the way.
    Status wipe();

    bool is_running() { return process_ && process_->is_running(); }

    bool is_frozen() const noexcept { return is_frozen_; }

    /// It has ended, and nobody here ended it.
    bool has_died() { return process_ && !is_running() && !is_ended_; }

    harness::Process* process() { return process_.get(); }

    /// Resident memory of its own, in bytes, and open descriptors; 0 when it does not run.
    std::pair<std::uint64_t, std::size_t> usage();

private:
    Options options_;
    std::unique_ptr<harness::Process> process_;
    bool is_frozen_ = false;
    bool is_ended_ = false;  ///< by this object
    std::uint32_t wiped_ = 0;
};

}  // namespace gantry::chaos
