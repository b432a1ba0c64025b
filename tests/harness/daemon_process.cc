// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/daemon_process.h"

#include "tests/harness/sockets/free_port.h"

#include <utility>

namespace gantry::harness {
namespace {

constexpr const char* kHost = "127.0.0.1";

Settings with_defaults(Settings defaults, const Settings& settings) {
    for (const auto& [key, value] : settings) {
        defaults[key] = value;
    }
    return defaults;
}

Settings local_ports() {
    return {{"listen.address", kHost},
            {"listen.port", "0"},
            {"http.address", kHost},
            {"http.port", "0"},
            {"log.level", "debug"}};
}

Settings broker_defaults(const std::filesystem::path& directory,
                         const std::string& name,
                         const std::string& nameservers) {
    Settings settings = local_ports();
    settings["broker.name"] = name;
    settings["broker.advertise_host"] = kHost;
    settings["nameserver.addresses"] = nameservers;
    settings["store.directory"] = (directory / name / "store").string();
    return settings;
}

}  // namespace

DaemonProcess::DaemonProcess(std::filesystem::path executable,
                             std::filesystem::path directory,
                             std::string name,
                             Settings settings)
    : executable_(std::move(executable)),
      directory_(std::move(directory)),
      name_(std::move(name)),
      settings_(std::move(settings)) {}

Status DaemonProcess::start() {
    for (const char* const key : {"listen.port", "http.port"}) {
        if (settings_[key] == "0") {  // it keeps its ports, also while it is down
            GANTRY_ASSIGN_OR_RETURN(const std::uint16_t port, free_port());
            settings_[key] = std::to_string(port);
        }
    }
    std::vector<std::string> arguments;
    for (const auto& [key, value] : settings_) {
        arguments.push_back("--set");
        arguments.push_back(key + "=" + value);
    }
    GANTRY_ASSIGN_OR_RETURN(process_, Process::start(executable_, arguments, directory_, name_));
    GANTRY_ASSIGN_OR_RETURN(ports_, process_->wait_ready());
    return ok();
}

void DaemonProcess::kill() {
    if (process_) {
        process_->kill();
    }
}

Status DaemonProcess::stop() {
    if (!process_) {
        return ok();
    }
    GANTRY_ASSIGN_OR_RETURN(const ProcessExit exit, process_->stop());
    if (exit.code != 0) {
        return Error{Errc::kIo,
                     name_ + " ended with code " + std::to_string(exit.code) + ", signal " +
                         std::to_string(exit.signal) + ": " + process_->err()};
    }
    return ok();
}

Status DaemonProcess::restart(bool cleanly) {
    if (cleanly) {
        GANTRY_TRY(stop());
    } else {
        kill();
    }
    return start();
}

std::string DaemonProcess::address() const {
    return std::string(kHost) + ":" + std::to_string(ports_.port);
}

NameserverProcess::NameserverProcess(const std::filesystem::path& directory,
                                     const std::string& name,
                                     const Settings& settings)
    : DaemonProcess(executable(), directory, name, with_defaults(local_ports(), settings)) {}

std::filesystem::path NameserverProcess::executable() {
    return GANTRY_NAMESERVER_EXECUTABLE;
}

BrokerProcess::BrokerProcess(const std::filesystem::path& directory,
                             const std::string& name,
                             const std::string& nameservers,
                             const Settings& settings)
    : DaemonProcess(executable(),
                    directory,
                    name,
                    with_defaults(broker_defaults(directory, name, nameservers), settings)) {}

std::filesystem::path BrokerProcess::executable() {
    return GANTRY_BROKER_EXECUTABLE;
}

}  // namespace gantry::harness
