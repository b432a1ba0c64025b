// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry {
class SettingTable;
}

namespace gantry::broker {

/// What one broker is told about its group: the settings `replication.*`.
struct ReplicationOptions {
    std::string mode = "off";  ///< off, static, etcd
    std::int64_t member = 0;   ///< of the group; at least 1 unless the mode is off
    std::int64_t listen_port = 0;
    std::string advertise_host;
    std::string role = "slave";  ///< static: of a group that has no state yet
    std::vector<std::string> peers;
    std::vector<std::string> etcd;
    std::string etcd_prefix = "/gantry";
    std::int64_t lease_ms = 5'000;
    std::string acks = "sync";  ///< sync, async
    std::int64_t in_sync_min = 1;
    std::int64_t lag_ms_max = 5'000;
    std::int64_t window_bytes = std::int64_t{64} << 20;
    std::int64_t heartbeat_ms = 500;
    std::string secret_file;
    std::int64_t seed_bytes_per_second = 0;
    bool serve_without_register = false;
    bool slave_reads = true;

    bool is_on() const noexcept { return mode != "off"; }

    bool is_static() const noexcept { return mode == "static"; }

    bool waits_for_copies() const noexcept { return acks == "sync"; }
};

/// Names, ranges and meanings. `options` outlives `table`.
void bind_replication_settings(SettingTable& table, ReplicationOptions& options);

/// What the ranges of single settings cannot say; `client_port` is listen.port. kRefused names the
/// setting, value and rule.
Status check_replication(const ReplicationOptions& options, std::int64_t client_port);

/// The port members talk on: replication.listen_port, or the one above listen.port; 0: the system
/// picks.
std::uint16_t replication_port(const ReplicationOptions& options, std::int64_t client_port);

/// What members prove to one another that they know: the content of replication.secret_file without
/// the blanks around it; empty without one. kRefused: it cannot be read, or holds nothing. Blocks.
Result<std::string> replication_secret(const ReplicationOptions& options);

}  // namespace gantry::broker
