// SPDX-License-Identifier: Apache-2.0
#include "broker/settings.h"

#include "broker/delivery/delay_service.h"
#include "common/settings.h"
#include "protocol/net/socket.h"
#include "protocol/wire/record.h"
#include "storage/timers/timers.h"
#include "storage/topic_table.h"
#include "storage/transaction/transactions.h"

#include <algorithm>

namespace gantry::broker {

namespace {

constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;
constexpr std::int64_t kGiB = 1024 * kMiB;
constexpr std::int64_t kRecordHeadroomBytes = 64 * kKiB;
constexpr std::int64_t kStockFrameBytes = 16 * kMiB;

void bind_network(SettingTable& table, BrokerOptions& o) {
    o.base.describe(table);
    table.add("listen.vip",
              &o.listen_vip,
              "Also listen on listen.port - 2, which stock slaves and tools use.");
    table.add("loop.count", &o.loop_count, {1, 64}, "Event loops, one thread each.");
    table.add("loop.spin_us",
              &o.loop_spin_us,
              {0, 1'000},
              "How long a loop polls after its last event before it sleeps, in microseconds.");
    table.add("limits.connections_max",
              &o.connections_max,
              {1, 1'000'000},
              "Connections served at once; above it accepting pauses.");
    table.add("limits.connection_output_bytes_max",
              &o.connection_output_bytes_max,
              {kMiB, kGiB},
              "Unsent bytes of one connection above which its requests are no longer read.");
    table.add("limits.connection_idle_ms",
              &o.connection_idle_ms,
              {0, 86'400'000},
              "A connection without traffic for that long is closed; 0: never.");
    table.add("limits.parked_pulls_max",
              &o.parked_pulls_max,
              {0, 10'000'000},
              "Long polls held by one loop; further ones are answered at once.");
    table.add("limits.pending_acks_max",
              &o.pending_acks_max,
              {1, 100'000'000},
              "Sends of one loop that wait for the disk; further ones are refused as busy.");
    table.add("limits.unflushed_bytes_max",
              &o.unflushed_bytes_max,
              {kMiB, 1024 * kGiB},
              "Log that is not yet on the disk above which sends are refused as busy.");
    table.add("limits.message_bytes_max",
              &o.message_bytes_max,
              {1, 512 * kMiB},
              "Largest body of one message.");
}

void bind_identity(SettingTable& table, BrokerOptions& o) {
    table.add("broker.cluster", &o.cluster, "Cluster this broker belongs to.");
    table.add("broker.name", &o.name, "Name of the broker group.");
    table.add("broker.id", &o.id, {0, 1'000'000}, "0 for the master of the group.");
    table.add("broker.advertise_host",
              &o.advertise_host,
              "Address clients are told to use; empty: listen.address, or this machine's first "
              "address when that is a wildcard.");
    table.add("broker.query_threads",
              &o.query_threads,
              {1, 64},
              "Threads for queries by key, id and time, and other work that waits for the disk.");
    table.add("nameserver.addresses",
              &o.nameservers,
              "host:port of every nameserver; empty: the broker stands alone.");
    table.add("nameserver.heartbeat_ms",
              &o.nameserver_heartbeat_ms,
              {100, 60'000},
              "Interval of heartbeats to each nameserver.");
    table.add("topic.auto_create",
              &o.topic_auto_create,
              "Create a topic when a stock client first sends to it.");
    table.add("topic.auto_create_queues",
              &o.topic_auto_create_queues,
              {1, storage::kQueuesPerTopicMax},
              "Most queues of a topic created that way.");
    table.add("group.auto_create",
              &o.group_auto_create,
              "Create a consumer group, and its retry topic, when its first member comes.");
    table.add("group.share_heartbeat_ms",
              &o.share_heartbeat_ms,
              {100, 60'000},
              "A member that shares its queues by the broker and is silent for two of these has "
              "lost them; in milliseconds.");
    table.add("filter.sql",
              &o.filter_sql,
              "Let consumers filter by SQL92 expressions over properties. RocketMQ's "
              "enablePropertyFilter, which is off there.");
}

void bind_store(SettingTable& table, BrokerOptions& o) {
    table.add("store.directory", &o.store_directory, "Where the log and everything else lives.");
    table.add_choice("store.flush",
                     &o.store_flush,
                     {"async", "sync"},
                     "When a send is acknowledged: once in memory, or once on the disk.");
    table.add_choice("store.on_damage",
                     &o.store_on_damage,
                     {"quarantine", "refuse"},
                     "What a start does about damage in the middle of the log: keep the damaged "
                     "pieces from consumers and serve the rest, or not start.");
    table.add("store.flush_interval_ms",
              &o.store_flush_interval_ms,
              {1, 60'000},
              "Async: longest time between two flushes.");
    table.add("store.flush_bytes",
              &o.store_flush_bytes,
              {kMiB, 16 * kGiB},
              "Async: unflushed bytes that start a flush early.");
    table.add("store.segment_bytes",
              &o.store_segment_bytes,
              {kMiB, 16 * kGiB},
              "Size of one file of the log.");
    table.add("store.prefault_bytes",
              &o.store_prefault_bytes,
              {0, 16 * kGiB},
              "How far ahead of the tail memory is prepared.");
    table.add("store.checkpoint_bytes",
              &o.store_checkpoint_bytes,
              {kMiB, 64 * kGiB},
              "Log written between two checkpoints, up to four times that where they take long; "
              "bounds the work of a restart.");
    table.add("store.hot_bytes",
              &o.store_hot_bytes,
              {0, 1024 * kGiB},
              "Bytes behind the tail that stay mapped: short runs of them are not copied.");
    table.add("store.cache_bytes",
              &o.store_cache_bytes,
              {0, 1024 * kGiB},
              "Bytes of the log kept in the page cache; 0: the system decides.");
    table.add("store.free_bytes_min",
              &o.store_free_bytes_min,
              {0, 1024 * kGiB},
              "Free space below which sends are refused.");
}

void bind_scrubbing(SettingTable& table, BrokerOptions& o) {
    table.add("store.scrub_bytes_per_second",
              &o.store_scrub_bytes_per_second,
              {0, 1024 * kGiB},
              "Bytes of the log that the scrubber reads and checks in a second, at most; 0: it "
              "does not.");
    table.add("store.scrub_interval_s",
              &o.store_scrub_interval_s,
              {1, 366 * 86'400},
              "Seconds from the beginning of one round of the scrubber over the log to that of the "
              "next, at least.");
}

void bind_reading(SettingTable& table, BrokerOptions& o) {
    table.add("read.cold_threads",
              &o.read_cold_threads,
              {1, 64},
              "Threads that read what is not in the page cache.");
    table.add("read.cold_memory_bytes",
              &o.read_cold_memory_bytes,
              {8 * kMiB, 64 * kGiB},
              "Memory for the log's bytes that cold readers share and that are read ahead.");
    table.add("read.cold_bytes_per_second",
              &o.read_cold_bytes_per_second,
              {0, 1024 * kGiB},
              "Most that cold reads take from the disk, and give out, in a second; 0: as much as "
              "leaves producers and tail readers their latency.");
    table.add("read.cold_group_bytes_per_second",
              &o.read_cold_group_bytes_per_second,
              {0, 1024 * kGiB},
              "Most that one consumer group gets by cold reads in a second; 0: no limit.");
    table.add("read.cold_direct",
              &o.read_cold_direct,
              "Cold reads go past the page cache (O_DIRECT), which stays the tail's; off: through "
              "it, and their pages are dropped.");
}

void bind_retention(SettingTable& table, BrokerOptions& o) {
    constexpr std::int64_t kHoursMax = 876'000;
    table.add(
        "store.log_directories",
        &o.store_log_directories,
        "Directories for the files of the log, on several disks; each new file goes where most "
        "room is. Empty: commitlog in store.directory.");
    table.add("store.volume_bytes_max",
              &o.store_volume_bytes_max,
              {0, INT64_MAX},
              "Most bytes of the log on one volume; 0: as many as fit.");
    table.add("retention.hours",
              &o.retention_hours,
              {0, kHoursMax},
              "Messages older than that may be deleted; 0: age deletes none. Topics may say "
              "otherwise.");
    table.add("retention.bytes",
              &o.retention_bytes,
              {0, INT64_MAX},
              "The oldest messages go when the log is larger than that; 0: size deletes none.");
    table.add("retention.check_seconds",
              &o.retention_check_seconds,
              {1, 86'400},
              "Time between two looks for what may be deleted.");
    table.add("retention.until_consumed_cap_hours",
              &o.retention_until_consumed_cap_hours,
              {0, kHoursMax},
              "A topic kept until consumed loses messages older than that all the same; 0: never.");
    table.add("retention.until_consumed_cap_bytes",
              &o.retention_until_consumed_cap_bytes,
              {0, INT64_MAX},
              "A topic kept until consumed is not kept larger than that; 0: no limit.");
    table.add("retention.force",
              &o.retention_force,
              "When the log has no room left, delete the oldest messages, whatever they are, "
              "instead of refusing sends.");
    table.add("retention.alarm_percent",
              &o.retention_alarm_percent,
              {1, 100},
              "Share of the log's room that is taken when the alarm goes off.");
}

void bind_transactions(SettingTable& table, BrokerOptions& o) {
    constexpr std::int64_t kYearMs = std::int64_t{366} * 86'400'000;
    table.add("transaction.check_immunity_ms",
              &o.transaction_check_immunity_ms,
              {0, kYearMs},
              "How long after its half message a producer is first asked what became of a "
              "transaction; a message may say otherwise.");
    table.add("transaction.check_interval_ms",
              &o.transaction_check_interval_ms,
              {10, kYearMs},
              "Time between two questions about the same transaction.");
    table.add("transaction.check_max",
              &o.transaction_check_max,
              {0, 1'000'000},
              "Questions about one transaction that reached a producer; then its message goes to "
              "TRANS_CHECK_MAX_TIME_TOPIC.");
    table.add("transaction.open_ms_max",
              &o.transaction_open_ms_max,
              {1'000, kYearMs},
              "A transaction without an outcome for that long ends the same way, though nobody "
              "could be asked.");
    table.add("transaction.open_max",
              &o.transaction_open_max,
              {0, 100'000'000},
              "Transactions without an outcome, about 150 B of memory each; further half messages "
              "are refused as busy.");
}

void bind_delays(SettingTable& table, BrokerOptions& o) {
    constexpr std::int64_t kYearMs = std::int64_t{366} * 86'400'000;
    table.add("delay.ms_max",
              &o.delay_ms_max,
              {1'000, kYearMs},
              "How far ahead a delayed message may be due; those further ahead are refused.");
    table.add("delay.cancelled_max",
              &o.delay_cancelled_max,
              {0, 100'000'000},
              "Delayed messages that are cancelled and not due yet, about 60 B of memory each; "
              "beyond that none can be cancelled.");
    table.add("delay.roll_seconds",
              &o.delay_roll_seconds,
              {1, 366 * 86'400},
              "A delayed message that waited so long is stored again, so that the log need not be "
              "kept for it.");
}

void bind_producers(SettingTable& table, BrokerOptions& o) {
    table.add("producer.idle_seconds",
              &o.producer_idle_seconds,
              {600, 366 * 86'400},
              "How long an idempotent producer's numbers in a queue are remembered after its last "
              "message there.");
    table.add(
        "limits.producer_queues_max",
        &o.producer_queues_max,
        {1, 100'000'000},
        "Producers' queues whose numbers are remembered, about 1 KiB of memory each; beyond, "
        "the longest unused go, and new ones are busy while all were used within 10 minutes.");
}

void bind_pops(SettingTable& table, BrokerOptions& o) {
    table.add("pop.invisible_ms_max",
              &o.pop_invisible_ms_max,
              {1'000, 7 * 86'400'000},
              "Longest time for which a popped message is kept from others, unless it is renewed.");
    table.add("pop.leases_max",
              &o.pop_leases_max,
              {1, 100'000},
              "Runs of popped messages of one group and queue that are not acknowledged, about "
              "120 B of memory each; no new messages of the queue are handed out then.");
    table.add("pop.write_interval_ms",
              &o.pop_write_interval_ms,
              {1, 60'000},
              "Acknowledgements of popped messages are written at the latest after that time; a "
              "broker that is killed delivers what was not written again.");
}

void bind_flow(SettingTable& table, BrokerOptions& o) {
    constexpr std::int64_t kRateMax = 1'000'000'000'000;
    table.add("trace.topic",
              &o.trace_topic,
              "Take traces of messages: make RMQ_SYS_TRACE_TOPIC, and tell stock clients to write "
              "theirs. RocketMQ's traceTopicEnable.");
    table.add("reply.store",
              &o.reply_store,
              "Keep replies to requests in <cluster>_REPLY_TOPIC too. RocketMQ's "
              "storeReplyMessageEnable.");
    table.add("flow.broker_send_messages",
              &o.flow_broker_send_messages,
              {0, kRateMax},
              "Messages a second that the broker takes from all producers; 0: no limit. This and "
              "the other limits of flow can be changed at run time, by gantry flow set.");
    table.add("flow.broker_send_bytes",
              &o.flow_broker_send_bytes,
              {0, kRateMax},
              "Bytes a second that the broker takes from all producers; 0: no limit.");
    table.add("flow.broker_deliver_messages",
              &o.flow_broker_deliver_messages,
              {0, kRateMax},
              "Messages a second that the broker gives to all consumers; 0: no limit.");
    table.add("flow.broker_deliver_bytes",
              &o.flow_broker_deliver_bytes,
              {0, kRateMax},
              "Bytes a second that the broker gives to all consumers; 0: no limit.");
    table.add("flow.client_send_messages",
              &o.flow_client_send_messages,
              {0, kRateMax},
              "Messages a second taken from each client, by its client id; 0: no limit.");
    table.add("flow.client_send_bytes",
              &o.flow_client_send_bytes,
              {0, kRateMax},
              "Bytes a second taken from each client; 0: no limit.");
    table.add("flow.client_deliver_messages",
              &o.flow_client_deliver_messages,
              {0, kRateMax},
              "Messages a second given to each client; 0: no limit.");
    table.add("flow.client_deliver_bytes",
              &o.flow_client_deliver_bytes,
              {0, kRateMax},
              "Bytes a second given to each client; 0: no limit.");
    table.add(
        "limits.memory_bytes_max",
        &o.memory_bytes_max,
        {0, 1024 * kGiB},
        "Memory for requests that are being read, answers that wait to be written, and pulls "
        "and sends that wait; beyond, sends, pulls and queries are refused with FLOW_CONTROL. "
        "0: no limit.");
}

Status check_name(std::string_view setting, std::string_view value) {
    const auto is_bad = [](char c) { return c <= ' ' || c == ';' || c == ',' || c == '"'; };
    if (value.empty() || value.size() > wire::kTopicBytesMax ||
        std::any_of(value.begin(), value.end(), is_bad)) {
        return Error{Errc::kRefused,
                     std::string(setting) + " '" + std::string(value) +
                         "' must have 1 to 255 characters, no blanks, quotes, commas, semicolons"};
    }
    return ok();
}

Status check_addresses(const BrokerOptions& options) {
    if (!net::numeric_address(options.base.listen_address, 0)) {
        return Error{Errc::kRefused,
                     "listen.address '" + options.base.listen_address + "' must be an IP address"};
    }
    for (const std::string& address : options.nameservers) {
        if (const auto parts = net::split_host_port(address); !parts) {
            return Error{Errc::kRefused, "nameserver.addresses: " + parts.error().detail};
        }
    }
    return ok();
}

}  // namespace

BrokerOptions::BrokerOptions() {
    base.listen_port = 10'911;
    base.http_port = 10'915;
}

void bind_settings(SettingTable& table, BrokerOptions& options) {
    bind_network(table, options);
    bind_identity(table, options);
    bind_store(table, options);
    bind_scrubbing(table, options);
    bind_reading(table, options);
    bind_retention(table, options);
    bind_transactions(table, options);
    bind_delays(table, options);
    bind_producers(table, options);
    bind_pops(table, options);
    bind_flow(table, options);
    bind_replication_settings(table, options.replication);
}

Status check_options(const BrokerOptions& options) {
    GANTRY_TRY(check_name("broker.cluster", options.cluster));
    GANTRY_TRY(check_name("broker.name", options.name));
    GANTRY_TRY(check_addresses(options));
    GANTRY_TRY(check_replication(options.replication, options.base.listen_port));
    if (options.store_directory.empty()) {
        return Error{Errc::kRefused, "store.directory '' must not be empty"};
    }
    if (options.store_flush != "async" && options.store_flush != "sync") {
        return Error{Errc::kRefused,
                     "store.flush '" + options.store_flush + "' must be async or sync"};
    }
    const std::int64_t needed = options.message_bytes_max + kRecordHeadroomBytes;
    if (options.store_segment_bytes < needed + kRecordHeadroomBytes) {
        return Error{Errc::kRefused,
                     "store.segment_bytes " + std::to_string(options.store_segment_bytes) +
                         " must hold a message of limits.message_bytes_max " +
                         std::to_string(options.message_bytes_max)};
    }
    if (options.store_cache_bytes != 0 && options.store_cache_bytes < options.store_hot_bytes) {
        return Error{Errc::kRefused,
                     "store.cache_bytes " + std::to_string(options.store_cache_bytes) +
                         " must be 0 or at least store.hot_bytes " +
                         std::to_string(options.store_hot_bytes)};
    }
    if (options.listen_vip && options.base.listen_port > 0 && options.base.listen_port <= 2) {
        return Error{Errc::kRefused,
                     "listen.port " + std::to_string(options.base.listen_port) +
                         " must be above 2 with listen.vip"};
    }
    return ok();
}

std::uint32_t frame_bytes_max(const BrokerOptions& options) noexcept {
    return static_cast<std::uint32_t>(
        std::max(kStockFrameBytes, options.message_bytes_max + kRecordHeadroomBytes));
}

storage::RetentionOptions retention_options(const BrokerOptions& options) {
    constexpr std::int64_t kHourMs = 3'600'000;
    storage::RetentionOptions retention;
    retention.keep_ms = options.retention_hours * kHourMs;
    retention.bytes_max = static_cast<std::uint64_t>(options.retention_bytes);
    retention.check_ms = static_cast<std::uint32_t>(options.retention_check_seconds * 1'000);
    retention.unconsumed_ms_max = options.retention_until_consumed_cap_hours * kHourMs;
    retention.unconsumed_bytes_max =
        static_cast<std::uint64_t>(options.retention_until_consumed_cap_bytes);
    retention.force = options.retention_force;
    retention.alarm_percent = static_cast<std::uint32_t>(options.retention_alarm_percent);
    // Whose messages the broker itself still has to deliver.
    retention.held_topics = {std::string(DelayService::kTopic),
                             std::string(storage::kTimerTopic),
                             std::string(storage::kHalfTopic)};
    return retention;
}

storage::StoreOptions store_options(const BrokerOptions& options, const wire::Host& store_host) {
    storage::StoreOptions store;
    store.directory = options.store_directory;
    store.segment_bytes = static_cast<std::uint64_t>(options.store_segment_bytes);
    store.prefault_bytes = static_cast<std::uint64_t>(options.store_prefault_bytes);
    store.record_bytes_max =
        static_cast<std::uint32_t>(options.message_bytes_max + kRecordHeadroomBytes);
    store.flush =
        options.store_flush == "sync" ? storage::FlushMode::kSync : storage::FlushMode::kAsync;
    store.on_damage = options.store_on_damage == "refuse" ? storage::OnDamage::kRefuse
                                                          : storage::OnDamage::kQuarantine;
    store.flush_interval_ms = static_cast<std::uint32_t>(options.store_flush_interval_ms);
    store.flush_bytes = static_cast<std::uint64_t>(options.store_flush_bytes);
    store.checkpoint_bytes = static_cast<std::uint64_t>(options.store_checkpoint_bytes);
    store.hot_bytes = static_cast<std::uint64_t>(options.store_hot_bytes);
    store.cache_bytes = static_cast<std::uint64_t>(options.store_cache_bytes);
    store.free_bytes_min = static_cast<std::uint64_t>(options.store_free_bytes_min);
    store.scrub.bytes_per_second = static_cast<std::uint64_t>(options.store_scrub_bytes_per_second);
    store.scrub.interval = std::chrono::seconds(options.store_scrub_interval_s);
    store.scrub.is_direct = options.read_cold_direct;
    store.cold.threads = static_cast<std::uint32_t>(options.read_cold_threads);
    store.cold.memory_bytes = static_cast<std::uint64_t>(options.read_cold_memory_bytes);
    store.cold.bytes_per_second = static_cast<std::uint64_t>(options.read_cold_bytes_per_second);
    store.cold.group_bytes_per_second =
        static_cast<std::uint64_t>(options.read_cold_group_bytes_per_second);
    store.cold.is_direct = options.read_cold_direct;
    store.log_directories.assign(options.store_log_directories.begin(),
                                 options.store_log_directories.end());
    store.volume_bytes_max = static_cast<std::uint64_t>(options.store_volume_bytes_max);
    store.retention = retention_options(options);
    store.producer_idle_ms = options.producer_idle_seconds * 1'000;
    store.producer_queues_max = static_cast<std::size_t>(options.producer_queues_max);
    store.store_host = store_host;
    return store;
}

}  // namespace gantry::broker
