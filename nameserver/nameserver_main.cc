// SPDX-License-Identifier: Apache-2.0
#include "nameserver/nameserver.h"

int main(int argc, char** argv) {
    gantry::SystemClock clock;
    gantry::nameserver::NameserverSettings settings;
    gantry::SettingTable table;
    settings.describe(table);
    return gantry::net::run_daemon({"gantry-nameserver",
                                    "Tells producers and consumers which brokers serve a topic.",
                                    table,
                                    settings.base,
                                    [&]() -> gantry::Result<std::unique_ptr<gantry::net::Daemon>> {
                                        GANTRY_ASSIGN_OR_RETURN(
                                            std::unique_ptr<gantry::net::Daemon> daemon,
                                            gantry::nameserver::Nameserver::start(settings, clock));
                                        return daemon;
                                    }},
                                   argc,
                                   argv);
}
