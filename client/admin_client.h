// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "client/dead_letters.h"
#include "client/delayed_messages.h"
#include "client/flow_limits.h"
#include "client/group_status.h"
#include "client/message.h"
#include "client/message_trace.h"
#include "common/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::client {

/// What a topic looks like on one broker.
struct TopicSpec {
    std::string topic;
    std::int32_t read_queues = 8;
    std::int32_t write_queues = 8;
    std::int32_t perm = 6;  ///< 4 read + 2 write
    /// "retention.ms" and others; in an update an empty value takes one away.
    std::map<std::string, std::string> attributes;
};

/// A topic's definition and the broker that has it.
struct TopicOnBroker {
    TopicSpec spec;
    std::string broker;
};

/// What one queue holds: messages from min_offset up to max_offset, without it.
struct QueueStatus {
    QueueId queue;
    std::int64_t min_offset = 0;
    std::int64_t max_offset = 0;
    WallMs last_update_ms = 0;
};

/// A transaction without an outcome.
struct OpenTransaction {
    std::string broker;
    std::string message_id;  ///< offset message id of the half message; empty: it cannot be read
    std::string group;       ///< of producers
    std::string topic;       ///< where the message would go
    WallMs store_ms = 0;
    WallMs asked_ms = 0;  ///< when a producer was asked last; 0: never
    std::int32_t asked = 0;
};

/// One broker process; id 0 is the master of the brokers of that name.
struct BrokerAddress {
    std::string cluster;
    std::string broker;
    std::int64_t broker_id = 0;
    std::string address;
};

/// What a broker says about itself; offsets are bytes of its log.
struct BrokerStatus {
    BrokerAddress address;
    std::string version;
    std::string flush_mode;
    std::string state;
    std::string state_reason;
    std::string store_directory;
    WallMs start_ms = 0;
    std::int64_t min_log_offset = 0;
    std::int64_t appended_log_offset = 0;
    std::int64_t flushed_log_offset = 0;
    std::int64_t confirmed_log_offset = 0;
    std::uint64_t topics = 0;
    std::uint64_t queues = 0;
    std::uint64_t groups = 0;
    std::uint64_t connections = 0;
    std::uint64_t free_bytes = 0;
    std::uint32_t room_taken_percent = 0;  ///< of what the log may take
    std::string room_alarm;                ///< why the log is about to run out of room, or empty
    std::int64_t retention_hours = 0;
    std::int64_t retention_bytes = 0;
    std::map<std::string, std::uint64_t> deleted_unconsumed;  ///< messages, by group
    std::map<std::string, double> counters;
};

/// How one copy of a broker's log stands.
struct ReplicaState {
    std::int64_t member = 0;
    std::string address;  ///< where clients reach it
    std::string role;     ///< "master", "slave", or "unknown" when it does not answer
    std::string error;    ///< why
    std::int64_t epoch = 0;
    std::int64_t log_end = -1;        ///< -1: not known
    std::int64_t behind_bytes = -1;   ///< of the master; -1: not known
    std::int64_t round_trip_us = -1;  ///< of the link to it; -1: not known, or the master
    bool is_in_sync = false;
};

/// What making a broker the master has done, or would do.
struct Promotion {
    bool is_done = false;
    bool is_in_sync = false;  ///< it has everything that was acknowledged
    bool master_is_alive = false;
    std::int64_t epoch = 0;            ///< when done: the new one
    std::int64_t log_end = 0;          ///< of this broker
    std::int64_t master_end = -1;      ///< as this broker heard last; -1: it heard nothing
    std::int64_t lost_bytes_max = -1;  ///< of the log; -1: not known
    std::string text;
};

/// Administration of a cluster, as the CLI does it. Every call blocks, at most `timeout`.
///
/// Threads   any but the client's own: not from a callback.
/// Errors    kGone (no nameserver or broker reachable), kTimeout, kNotFound, kConflict, kRefused,
///           as the servers give them; detail names the server.
class AdminClient {
public:
    /// Limits of every call.
    struct Options {
        std::chrono::milliseconds timeout{5'000};
    };

    /// kRefused: a timeout that is not above 0.
    static Result<std::unique_ptr<AdminClient>> create(std::shared_ptr<Client> client,
                                                       const Options& options);
    ~AdminClient();
    AdminClient(const AdminClient&) = delete;
    AdminClient& operator=(const AdminClient&) = delete;

    /// On every master of `cluster` (empty: the only cluster there is). kConflict: exists.
    Status create_topic(const TopicSpec& spec, std::string_view cluster = {});
    /// kNotFound: does not exist.
    Status update_topic(const TopicSpec& spec);
    Status delete_topic(std::string_view topic);
    Result<std::vector<std::string>> list_topics();
    /// Configuration on each broker that has it. kNotFound.
    Result<std::vector<TopicOnBroker>> describe_topic(std::string_view topic);
    Result<std::vector<QueueStatus>> topic_status(std::string_view topic);

    /// Every group a master knows, sorted by name.
    Result<std::vector<GroupSummary>> list_groups();
    /// kNotFound: no broker knows the group.
    Result<GroupStatus> describe_group(std::string_view group);

    /// kNotFound: no broker has settings of the group.
    Result<GroupSettings> group_settings(std::string_view group);
    /// On every master; makes the group where it is missing. kRefused: a value out of its range.
    Status set_group(const GroupSettings& settings);

    /// Every queue of dead letters there is, also those where none waits; sorted by group.
    Result<std::vector<DeadLetterQueue>> list_dead_letters();
    /// kNotFound: the group never had a dead letter.
    Result<std::vector<DeadLetterQueue>> dead_letters_of(std::string_view group);
    /// Up to `count_max` of one queue, from `from` on, in order, without those lost to damage.
    Result<std::vector<MessageView>> read_dead_letters(const QueueId& queue,
                                                       std::int64_t from,
                                                       std::uint32_t count_max);
    /// Sends copies of dead letters, their count of deliveries at 0 again, and commits how far it
    /// came behind what is acknowledged: interrupted anywhere, by an error or kill -9, the next
    /// call goes on there; it sends again at most the 32 that were under way. Dead letters that
    /// come while it runs wait for the next one. `report` is right also after an error.
    ///
    /// Limits    one redrive of a group at a time: two at once send some twice.
    /// Errors    kNotFound: none is there of that offset or id, or no such topic. kRefused: an
    ///           offset without a broker, or a group whose retry_max is below 0.
    Status redrive_dead_letters(const Redrive& what, RedriveReport& report);
    /// Gives up those that wait and were stored before `before`; returns how many. Their bytes go
    /// with the broker's retention.
    Result<std::uint64_t> purge_dead_letters(std::string_view group, WallMs before);

    /// Keys whose messages the group has put aside, on all masters, sorted by queue and key.
    Result<std::vector<ParkedKey>> list_parked(const ParkedChoice& which);
    /// Lets the group's consumers have these messages again, in order, before newer ones of their
    /// keys; returns how many keys. kNotFound: none is parked.
    Result<std::size_t> release_parked(const ParkedChoice& which);
    /// Gives these messages up: what comes later of their keys goes to the group again. As
    /// release_parked.
    Result<std::size_t> drop_parked(const ParkedChoice& which);

    /// Of every master, in the order they were begun there; at most `count_max` of each.
    Result<std::vector<OpenTransaction>> list_transactions(std::uint32_t count_max);
    /// Lets the broker ask producers again about a transaction it gave up. `id`: offset message id
    /// of the message in TRANS_CHECK_MAX_TIME_TOPIC. Repeating it is success. kNotFound.
    Status resume_transaction(std::string_view id);

    /// Of every master, in the order they were stored there.
    Result<std::vector<DelayedMessage>> list_delayed(const DelayedQuery& query);
    /// Takes a delayed message back, by the handle of its receipt or of list_delayed. kNotFound: no
    /// such message is known, or no such broker. kConflict: it was delivered, or cancelled before.
    /// kRefused: the handle is none. kBusy: the broker's delay.cancelled_max.
    Status cancel_delayed(std::string_view recall_handle);

    /// Every limit of rates that every master has, by broker.
    Result<std::vector<FlowLimit>> list_flow_limits();
    /// On every master, at once. kRefused: out of its range. kNotFound: no such topic.
    Status set_flow_limit(const FlowLimit& limit);
    /// Back to the settings' limit, or none.
    Status remove_flow_limit(FlowLimit::Scope scope, std::string_view name);

    /// Every registered broker, sorted by cluster, name and id.
    Result<std::vector<BrokerAddress>> cluster();
    /// `broker`: a broker name or "host:port".
    Result<BrokerStatus> describe_broker(std::string_view broker);

    /// Every copy of the log of the brokers of that name, registered or known to their master; by
    /// member. kNotFound: none is registered.
    Result<std::vector<ReplicaState>> list_replicas(std::string_view broker);
    /// Makes the broker at `address` the master, with `confirm`; without it nothing is done. Waits
    /// until it is, or for `timeout`. kConflict: it is not in sync, and `accept_loss` is false.
    /// kUnsupported: it has no replication.
    Result<Promotion> promote(const std::string& address, bool confirm, bool accept_loss);

    /// By offset message id. kNotFound.
    Result<MessageView> message_by_id(std::string_view id);
    Result<std::vector<MessageView>> messages_by_key(std::string_view topic,
                                                     std::string_view key,
                                                     WallMs begin,
                                                     WallMs end,
                                                     std::uint32_t count_max);

    /// What is known of a message with that UNIQ_KEY, by time. kNotFound: nothing.
    Result<std::vector<TraceEvent>> trace(std::string_view message_id);

private:
    struct State;
    explicit AdminClient(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace gantry::client
