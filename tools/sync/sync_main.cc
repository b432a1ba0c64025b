// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"
#include "protocol/net/daemon.h"
#include "sync/commands.h"
#include "sync/sync_daemon.h"

#include <iostream>
#include <memory>
#include <optional>
#include <unistd.h>

int main(int argc, char** argv) {
    if (argc > 1 && argv[1][0] != '-') {
        gantry::LogOptions log;
        log.level = gantry::LogLevel::kError;
        if (!gantry::set_up_log(log)) {
            return 1;
        }
    }
    if (const std::optional<int> code = gantry::sync::run_command(
            argc, argv, {std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1})) {
        return *code;
    }
    gantry::sync::SyncSettings settings;
    gantry::SettingTable table;
    settings.describe(table);
    return gantry::net::run_daemon(
        {"gantry-sync",
         "Copies topics between clusters. Commands: check, status, translate (with --help).",
         table,
         settings.base,
         [&]() -> gantry::Result<std::unique_ptr<gantry::net::Daemon>> {
             GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<gantry::net::Daemon> daemon,
                                     gantry::sync::SyncDaemon::start(settings));
             return daemon;
         }},
        argc,
        argv);
}
