// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "common/settings.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::net {

/// The settings every daemon has: listen.address, listen.port, http.address, http.port, log.level,
/// log.file. A daemon sets its own default ports before it calls describe().
struct DaemonSettings {
    std::string listen_address = "0.0.0.0";
    std::int64_t listen_port = 0;
    std::string http_address = "127.0.0.1";
    std::int64_t http_port = 0;
    std::string log_level = "info";
    std::string log_file;

    /// Adds them to `table`, bound to this object.
    void describe(SettingTable& table);
};

/// A started daemon, as run_daemon sees it.
class Daemon {
public:
    Daemon() = default;
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    virtual ~Daemon() = default;
    /// The ports it really listens on.
    virtual std::uint16_t port() const = 0;
    virtual std::uint16_t http_port() const = 0;
    /// Ends it cleanly: everything accepted is finished or refused. Blocks. Called once.
    virtual void stop() = 0;
};

/// What run_daemon needs to know about one program.
struct DaemonProgram {
    std::string name;      ///< of the executable
    std::string summary;   ///< one sentence for --help
    SettingTable& table;   ///< with every setting of the program
    DaemonSettings& base;  ///< the ones described above, part of `table`
    /// Starts it with the settings now in force. May run threads; must not wait for signals.
    std::function<Result<std::unique_ptr<Daemon>>()> start;
};

/// The whole of a daemon's main: command line, settings, log, start, the line
/// `READY port=N http=M` on standard output, then SIGTERM or SIGINT, then stop.
/// While it runs it gives memory that a burst has left in the allocator back to the system.
///
///   --config FILE     settings as TOML         --help            options and settings
///   --set key=value   one setting, repeatable  --help-markdown   settings as a Markdown table
///   --version         name and version         --print-config    settings in force as TOML
///
/// Settings of --set win over those of the file. Returns the exit code: 0 after a clean stop or an
/// answered question, 1 when the daemon could not start (reason on standard error), 2 when the
/// command line or a setting is wrong. SIGPIPE is ignored; a second SIGINT ends the process at
/// once. No exception leaves it.
int run_daemon(const DaemonProgram& program, int argc, const char* const* argv) noexcept;

}  // namespace gantry::net
