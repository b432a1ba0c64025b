// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/harness/process.h"
#include "tests/harness/temp_directory.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {

/// etcd in processes on the loopback, as Debian's etcd-server installs it. Killed, and its files
/// removed, with this object.
///
/// Threads   one.
class EtcdCluster {
    struct Private {};

public:
    /// Whether there is an etcd to start; where not, a case says so and ends.
    static bool is_installed();

    /// Starts `members` and waits until they have a leader.
    static Result<std::unique_ptr<EtcdCluster>> start(std::size_t members = 1);

    /// For start only.
    explicit EtcdCluster(Private) {}

    std::size_t size() const noexcept { return members_.size(); }

    /// Client port of a member.
    std::uint16_t port(std::size_t index = 0) const { return members_.at(index).client_port; }

    /// "http://127.0.0.1:port" of all, with commas: the setting replication.etcd.
    std::string endpoints() const;

    /// SIGKILL; begin() starts it again on its data.
    void kill(std::size_t index);
    /// SIGSTOP and SIGCONT.
    void pause(std::size_t index);
    void resume(std::size_t index);
    Status begin(std::size_t index);
    /// Waits until all that run answer as healthy.
    Status wait_healthy();

private:
    struct Member {
        std::uint16_t client_port = 0;
        std::uint16_t peer_port = 0;
        std::unique_ptr<Process> process{};
    };

    TempDirectory directory_;
    std::vector<Member> members_;
};

}  // namespace gantry::harness
