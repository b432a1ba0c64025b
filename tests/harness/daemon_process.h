// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "tests/harness/process.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::harness {

/// Setting names to values, as for --set.
using Settings = std::map<std::string, std::string>;

/// A daemon of ours in a process, that can be killed and started again at the same ports.
///
/// The first start lets the system pick the ports; later ones ask for those, so that clients can
/// come back. Everything it writes lies below its directory.
class DaemonProcess {
public:
    DaemonProcess(std::filesystem::path executable,
                  std::filesystem::path directory,
                  std::string name,
                  Settings settings);
    virtual ~DaemonProcess() = default;
    DaemonProcess(const DaemonProcess&) = delete;
    DaemonProcess& operator=(const DaemonProcess&) = delete;

    /// Starts it and waits for READY.
    Status start();
    /// SIGKILL.
    void kill();
    /// SIGTERM; kIo when it does not exit with 0.
    Status stop();
    /// kill or stop, then start.
    Status restart(bool cleanly = false);

    Process& process() { return *process_; }

    /// Changes a setting for the next start.
    void set(const std::string& key, const std::string& value) { settings_[key] = value; }

    const std::string& name() const noexcept { return name_; }

    const std::filesystem::path& directory() const noexcept { return directory_; }

    std::uint16_t port() const noexcept { return ports_.port; }

    std::uint16_t http_port() const noexcept { return ports_.http; }

    /// "127.0.0.1:port".
    std::string address() const;

private:
    std::filesystem::path executable_;
    std::filesystem::path directory_;
    std::string name_;
    Settings settings_;
    ReadyPorts ports_;
    std::unique_ptr<Process> process_;
};

/// gantry-nameserver, as built beside the tests.
class NameserverProcess final : public DaemonProcess {
public:
    NameserverProcess(const std::filesystem::path& directory,
                      const std::string& name,
                      const Settings& settings = {});

    static std::filesystem::path executable();
};

/// gantry-broker, as built beside the tests, with its store below `directory`.
class BrokerProcess final : public DaemonProcess {
public:
    /// `nameservers`: "host:port,host:port".
    BrokerProcess(const std::filesystem::path& directory,
                  const std::string& name,
                  const std::string& nameservers,
                  const Settings& settings = {});

    static std::filesystem::path executable();
};

}  // namespace gantry::harness
