// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/replication_options.h"

#include "common/settings.h"
#include "protocol/net/socket.h"

#include <fstream>
#include <iterator>
#include <string_view>

namespace gantry::broker {

namespace {

constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;
constexpr std::int64_t kGiB = 1024 * kMiB;
constexpr std::int64_t kPortMax = 65'535;

void bind_group(SettingTable& table, ReplicationOptions& o) {
    table.add_choice("replication.mode",
                     &o.mode,
                     {"off", "static", "etcd"},
                     "Whether this broker is one of several that keep the same log, the members of "
                     "the group broker.name: alone; with roles that an operator gives; with a "
                     "master that the members elect by etcd.");
    table.add("replication.member",
              &o.member,
              {0, 1'000'000},
              "Number of this member, at least 1, its own in the group. A slave is known by it at "
              "the nameservers, the master as 0.");
    table.add("replication.listen_port",
              &o.listen_port,
              {0, kPortMax},
              "Port on which members talk to one another; 0: the one above listen.port.");
    table.add("replication.advertise_host",
              &o.advertise_host,
              "Address other members are told to use; empty: that of clients.");
    table.add_choice("replication.role",
                     &o.role,
                     {"master", "slave"},
                     "Static: what this member is while the group has no master yet. Later it is "
                     "what gantry broker promote made of it.");
    table.add("replication.peers",
              &o.peers,
              "Static: host:port of the other members' replication ports.");
    table.add("replication.etcd", &o.etcd, "Etcd: its HTTP endpoints, http://host:port.");
    table.add("replication.etcd_prefix", &o.etcd_prefix, "Etcd: what its keys begin with.");
    table.add("replication.lease_ms",
              &o.lease_ms,
              {2'000, 300'000},
              "Etcd: a member that has not renewed its lease for that long is taken as dead, and "
              "a master acknowledges nothing any more. etcd counts in whole seconds.");
    table.add("replication.serve_without_register",
              &o.serve_without_register,
              "Etcd: a master whose lease has run out, because etcd cannot be reached, goes on. "
              "Safe, since nobody can be elected without it, but a master that was deposed "
              "meanwhile answers reads with what is old.");
}

void bind_links(SettingTable& table, ReplicationOptions& o) {
    table.add_choice("replication.acks",
                     &o.acks,
                     {"sync", "async"},
                     "When a send is acknowledged, unless its topic says otherwise: once all "
                     "copies in sync have it, or once this one has.");
    table.add("replication.in_sync_min",
              &o.in_sync_min,
              {1, 64},
              "Copies, the master's among them, that have to be in sync: with fewer, sends that "
              "wait for copies are refused.");
    table.add("replication.lag_ms_max",
              &o.lag_ms_max,
              {100, 3'600'000},
              "A slave that is behind for that long is not in sync any more, and nothing waits "
              "for it.");
    table.add("replication.window_bytes",
              &o.window_bytes,
              {kMiB, 16 * kGiB},
              "Bytes under way to one slave: sent and not acknowledged.");
    table.add("replication.heartbeat_ms",
              &o.heartbeat_ms,
              {50, 60'000},
              "Between two signs of life on an idle link; after six without one it is dead.");
    table.add("replication.secret_file",
              &o.secret_file,
              "File with a secret that all members know, and have to prove; empty: whoever "
              "reaches the port is believed.");
    table.add("replication.seed_bytes_per_second",
              &o.seed_bytes_per_second,
              {0, 1024 * kGiB},
              "Most bytes a second that go to one slave that is not in sync; 0: no limit.");
    table.add("replication.slave_reads",
              &o.slave_reads,
              "The master sends readers of old messages to a slave in sync.");
}

Error refused(std::string what) {
    return {Errc::kRefused, std::move(what)};
}

Status check_places(std::string_view setting, const std::vector<std::string>& places) {
    for (const std::string& place : places) {
        if (const auto parts = net::split_host_port(place); !parts) {
            return refused(std::string(setting) + ": " + parts.error().detail);
        }
    }
    return ok();
}

Status check_etcd(const ReplicationOptions& options) {
    constexpr std::string_view kScheme = "http://";
    if (options.etcd.empty()) {
        return refused("replication.etcd '' must name etcd's endpoints with replication.mode etcd");
    }
    for (const std::string& endpoint : options.etcd) {
        if (endpoint.compare(0, kScheme.size(), kScheme) != 0) {
            return refused("replication.etcd '" + endpoint + "' must be http://host:port");
        }
        std::string place = endpoint.substr(kScheme.size());
        GANTRY_TRY(check_places("replication.etcd", {std::move(place)}));
    }
    if (options.etcd_prefix.empty() || options.etcd_prefix.front() != '/') {
        return refused("replication.etcd_prefix '" + options.etcd_prefix + "' must begin with /");
    }
    return ok();
}

}  // namespace

void bind_replication_settings(SettingTable& table, ReplicationOptions& options) {
    bind_group(table, options);
    bind_links(table, options);
}

Status check_replication(const ReplicationOptions& options, std::int64_t client_port) {
    if (!options.is_on()) {
        return ok();
    }
    if (options.member < 1) {
        return refused("replication.member " + std::to_string(options.member) +
                       " must be at least 1 with replication.mode " + options.mode);
    }
    if (options.listen_port != 0 && options.listen_port == client_port) {
        return refused("replication.listen_port " + std::to_string(options.listen_port) +
                       " must not be listen.port");
    }
    if (options.listen_port == 0 && client_port == kPortMax) {
        return refused("replication.listen_port 0 must be set with listen.port " +
                       std::to_string(client_port));
    }
    if (options.lag_ms_max < 2 * options.heartbeat_ms) {
        return refused("replication.lag_ms_max " + std::to_string(options.lag_ms_max) +
                       " must be at least twice replication.heartbeat_ms " +
                       std::to_string(options.heartbeat_ms));
    }
    GANTRY_TRY(check_places("replication.peers", options.peers));
    return options.is_static() ? ok() : check_etcd(options);
}

std::uint16_t replication_port(const ReplicationOptions& options, std::int64_t client_port) {
    if (options.listen_port != 0 || client_port == 0) {
        return static_cast<std::uint16_t>(options.listen_port);
    }
    return static_cast<std::uint16_t>(client_port + 1);
}

Result<std::string> replication_secret(const ReplicationOptions& options) {
    if (options.secret_file.empty()) {
        return std::string();
    }
    std::ifstream file(options.secret_file, std::ios::binary);
    if (!file) {
        return refused("replication.secret_file '" + options.secret_file + "' cannot be read");
    }
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string::npos) {
        return refused("replication.secret_file '" + options.secret_file + "' holds no secret");
    }
    return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace gantry::broker
