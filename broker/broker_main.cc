// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"
#include "common/failpoint/failpoint.h"

int main(int argc, char** argv) {
    gantry::SystemClock clock;
    const auto files = gantry::make_posix_file_system();
    gantry::broker::BrokerOptions options;
    gantry::SettingTable table;
    gantry::broker::bind_settings(table, options);
    return gantry::net::run_daemon({"gantry-broker",
                                    "Stores messages and gives them to consumers.",
                                    table,
                                    options.base,
                                    [&]() -> gantry::Result<std::unique_ptr<gantry::net::Daemon>> {
                                        GANTRY_TRY(gantry::failpoint::set_from_environment());
                                        GANTRY_ASSIGN_OR_RETURN(
                                            std::unique_ptr<gantry::net::Daemon> daemon,
                                            gantry::broker::Broker::start(options, clock, *files));
                                        return daemon;
                                    }},
                                   argc,
                                   argv);
}
