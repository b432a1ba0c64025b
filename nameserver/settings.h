// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/settings.h"
#include "protocol/net/daemon.h"

#include <cstdint>
#include <string>

namespace gantry::nameserver {

/// Everything that can be set about a nameserver; docs/settings.md explains each.
struct NameserverSettings {
    NameserverSettings();

    net::DaemonSettings base;
    std::string kv_file;
    std::int64_t expiry_ms = 120'000;
    std::int64_t connections_max = 10'000;
    std::int64_t brokers_max = 10'000;
    std::int64_t topics_per_broker_max = 1'000'000;
    std::int64_t watched_topics_max = 1'000'000;
    std::int64_t kv_bytes_max = std::int64_t{4} << 20U;

    /// Adds all of them to `table`, bound to this object.
    void describe(SettingTable& table);
};

}  // namespace gantry::nameserver
