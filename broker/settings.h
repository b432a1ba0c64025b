// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replication_options.h"
#include "common/result.h"
#include "protocol/net/daemon.h"
#include "storage/types.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry {
class SettingTable;
}

namespace gantry::broker {

/// What one broker is told at start. Numbers are 64 bits wide because settings are; their ranges
/// are checked by the setting table.
struct BrokerOptions {
    BrokerOptions();

    net::DaemonSettings base;
    bool listen_vip = true;  ///< also serve listen.port - 2, as stock slaves expect

    std::string cluster = "DefaultCluster";
    std::string name = "broker-a";
    std::int64_t id = 0;  ///< 0: master
    std::string advertise_host;
    std::int64_t query_threads = 2;
    std::vector<std::string> nameservers;
    std::int64_t nameserver_heartbeat_ms = 2'000;

    std::string store_directory = "store";
    std::string store_flush = "async";
    std::string store_on_damage = "quarantine";
    std::int64_t store_flush_interval_ms = 500;
    std::int64_t store_flush_bytes = std::int64_t{64} << 20;
    std::int64_t store_segment_bytes = std::int64_t{1} << 30;
    std::int64_t store_prefault_bytes = std::int64_t{64} << 20;
    std::int64_t store_checkpoint_bytes = std::int64_t{256} << 20;
    std::int64_t store_hot_bytes = std::int64_t{256} << 20;
    std::int64_t store_cache_bytes = 0;
    std::int64_t store_free_bytes_min = std::int64_t{256} << 20;
    std::int64_t store_volume_bytes_max = 0;
    std::vector<std::string> store_log_directories;

    std::int64_t retention_hours = 72;
    std::int64_t retention_bytes = 0;
    std::int64_t retention_check_seconds = 10;
    std::int64_t retention_until_consumed_cap_hours = 168;
    std::int64_t retention_until_consumed_cap_bytes = 0;
    bool retention_force = false;
    std::int64_t retention_alarm_percent = 85;
    std::int64_t store_scrub_bytes_per_second = std::int64_t{8} << 20;
    std::int64_t store_scrub_interval_s = 86'400;

    std::int64_t read_cold_threads = 4;
    std::int64_t read_cold_memory_bytes = std::int64_t{64} << 20;
    std::int64_t read_cold_bytes_per_second = 0;
    std::int64_t read_cold_group_bytes_per_second = 0;
    bool read_cold_direct = true;

    bool topic_auto_create = false;
    std::int64_t topic_auto_create_queues = 8;
    bool group_auto_create = true;
    std::int64_t share_heartbeat_ms = 5'000;
    bool filter_sql = true;  ///< RocketMQ's enablePropertyFilter

    std::int64_t transaction_check_immunity_ms = 6'000;
    std::int64_t transaction_check_interval_ms = 30'000;
    std::int64_t transaction_check_max = 15;
    std::int64_t transaction_open_ms_max = 86'400'000;
    std::int64_t transaction_open_max = 500'000;

    std::int64_t delay_ms_max = std::int64_t{366} * 86'400'000;
    std::int64_t delay_cancelled_max = 100'000;
    std::int64_t delay_roll_seconds = 172'800;

    std::int64_t producer_idle_seconds = 86'400;
    std::int64_t producer_queues_max = 100'000;
    std::int64_t pop_invisible_ms_max = 43'200'000;
    std::int64_t pop_leases_max = 20'000;
    std::int64_t pop_write_interval_ms = 1'000;

    bool trace_topic = false;  ///< RocketMQ's traceTopicEnable
    bool reply_store = true;   ///< RocketMQ's storeReplyMessageEnable

    std::int64_t flow_broker_send_messages = 0;  ///< rates: a second; 0: no limit
    std::int64_t flow_broker_send_bytes = 0;
    std::int64_t flow_broker_deliver_messages = 0;
    std::int64_t flow_broker_deliver_bytes = 0;
    std::int64_t flow_client_send_messages = 0;
    std::int64_t flow_client_send_bytes = 0;
    std::int64_t flow_client_deliver_messages = 0;
    std::int64_t flow_client_deliver_bytes = 0;
    std::int64_t memory_bytes_max = std::int64_t{2} << 30U;

    std::int64_t message_bytes_max = std::int64_t{4} << 20;
    std::int64_t connections_max = 10'000;
    std::int64_t connection_output_bytes_max = std::int64_t{64} << 20;
    std::int64_t connection_idle_ms = 120'000;
    std::int64_t parked_pulls_max = 200'000;  ///< per loop
    std::int64_t pending_acks_max = 100'000;  ///< per loop
    std::int64_t unflushed_bytes_max = std::int64_t{16} << 30U;

    ReplicationOptions replication;

    std::int64_t loop_count = 1;
    std::int64_t loop_spin_us = 0;
};

/// Names, ranges and meanings of the options, for the file, the command line and the documents.
/// `options` outlives `table`.
void bind_settings(SettingTable& table, BrokerOptions& options);

/// What the ranges of single settings cannot say. kRefused names the setting, value and rule.
Status check_options(const BrokerOptions& options);

/// Bytes of one frame this broker takes: room for any message it takes, and no less than stock
/// servers do, so that a message over the limit gets an answer rather than a closed connection.
std::uint32_t frame_bytes_max(const BrokerOptions& options) noexcept;

/// What topics without rules of their own are kept for.
storage::RetentionOptions retention_options(const BrokerOptions& options);

/// The options as the store takes them; they have passed check_options. `store_host` is the address
/// written into records. A record may be larger than a message, by what surrounds the body.
storage::StoreOptions store_options(const BrokerOptions& options, const wire::Host& store_host);

}  // namespace gantry::broker
