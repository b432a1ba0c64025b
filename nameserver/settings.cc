// SPDX-License-Identifier: Apache-2.0
#include "nameserver/settings.h"

namespace gantry::nameserver {

NameserverSettings::NameserverSettings() {
    base.listen_port = 9'876;
    base.http_port = 9'877;
}

void NameserverSettings::describe(SettingTable& table) {
    base.describe(table);
    table.add("kv.file",
              &kv_file,
              "File that keeps KV entries over a restart; empty: they are kept in memory only.");
    table.add("route.expiry_ms",
              &expiry_ms,
              {1'000, 86'400'000},
              "A broker silent for that long is removed, unless it announced a time-out itself.");
    table.add("limits.connections_max",
              &connections_max,
              {1, 1'000'000},
              "Open connections; further ones wait to be accepted.");
    table.add("limits.brokers_max",
              &brokers_max,
              {1, 1'000'000},
              "Registered brokers; further registrations are refused.");
    table.add("limits.topics_per_broker_max",
              &topics_per_broker_max,
              {1, 10'000'000},
              "Topics of one broker name; a registration with more is refused.");
    table.add("limits.watched_topics_max",
              &watched_topics_max,
              {1, 100'000'000},
              "Topics named by all parked route watches; further watches are refused as busy.");
    table.add("limits.kv_bytes_max",
              &kv_bytes_max,
              {1'024, std::int64_t{64} << 20U},
              "Bytes of all KV namespaces, keys and values.");
}

}  // namespace gantry::nameserver
