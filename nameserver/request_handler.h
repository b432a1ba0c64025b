// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/metrics.h"
#include "nameserver/kv_file.h"
#include "nameserver/kv_store.h"
#include "nameserver/route_table.h"
#include "nameserver/settings.h"
#include "nameserver/watch_table.h"
#include "protocol/net/connection.h"
#include "protocol/net/event_loop.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace gantry::nameserver {

/// Answers every request of the nameserver's one event loop. All state lives in that loop's thread;
/// nothing in here blocks: the KV file is written by a thread of its own, and the answers to KV
/// changes wait for it.
///
/// Threads   load: before the loop runs; everything else in the loop's thread. The metrics read
///           copies of the counts.
/// Lifetime  clock, metrics and kv_file outlive it; it outlives the server, and is destroyed after
///           the loop has stopped. kv_file's last write must have ended before.
class RequestHandler final : public net::ConnectionHandler, public net::PassEnd {
public:
    /// The KV namespace whose entries are topics' order configuration: part of their routes.
    static constexpr const char* kOrderNamespace = "ORDER_TOPIC_CONFIG";

    /// What it works with. kv_file null: KV entries live in memory only.
    struct Parts {
        net::EventLoop& loop;
        Clock& clock;
        MetricRegistry& metrics;
        KvFile* kv_file = nullptr;
    };

    RequestHandler(const Parts& parts, const NameserverSettings& settings);
    ~RequestHandler() override;

    /// Reads the KV file. kCorrupt, kIo: names the file.
    Status load();
    /// Starts the timers; loop thread, or before it runs.
    void start();

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;
    void on_pass_end() override;

private:
    /// The encoded topic lists, by cluster (empty: all) and codec, as of `change_count`.
    struct TopicLists {
        std::uint64_t change_count = 0;
        std::map<std::pair<std::string, wire::Codec>, std::string> bodies;
    };

    struct Counts {
        std::atomic<std::size_t> brokers{0};
        std::atomic<std::size_t> topics{0};
        std::atomic<std::size_t> watches{0};
        std::atomic<std::uint64_t> rejected_topics{0};
    };

    bool handle_routes(const net::Received& frame);
    bool handle_brokers(const net::Received& frame);
    bool handle_kv(const net::Received& frame);

    void get_route(const net::Received& frame);
    void watch_routes(const net::Received& frame);
    void list_topics(const net::Received& frame, const std::string& cluster);
    void get_topics_of_cluster(const net::Received& frame);
    void delete_topic(const net::Received& frame);
    void change_write_permission(const net::Received& frame, bool wipe);

    void register_broker(const net::Received& frame);
    void refuse_registration(const net::Received& frame,
                             const wire::RegisterBrokerRequest& request,
                             const Error& why);
    void register_delta(const net::Received& frame);
    void heartbeat(const net::Received& frame);
    void query_data_version(const net::Received& frame);
    void unregister_broker(const net::Received& frame);

    void put_kv(const net::Received& frame);
    void get_kv(const net::Received& frame);
    void delete_kv(const net::Received& frame);
    void list_kv(const net::Received& frame);
    void kv_changed(const net::Received& frame, const wire::KvRequest& request);
    void save_kv();
    void kv_saved(const Status& saved);

    /// False when the fields do not parse; the request is answered then.
    bool read(const net::Received& frame, google::protobuf::Message& fields);
    void refuse(const net::Received& frame, const Error& why);
    void reply_body(const net::Received& frame, const google::protobuf::Message& body);

    bool fill_route(const std::string& topic, wire::TopicRouteData& route) const;
    void answer_watch(const Watch& watch);
    void answer_expired_watches();
    void arm_watch_timer();
    void settle();

    net::EventLoop& loop_;
    Clock& clock_;
    KvFile* const kv_file_;
    const std::uint64_t kv_bytes_max_;
    WatchTable watches_;
    RouteTable routes_;
    KvStore kv_;
    TopicLists topic_lists_;
    std::unordered_map<net::ConnectionId, net::Connection*> connections_;
    std::vector<net::ReplyTo> kv_waiting_;  // for the next write of the file
    std::vector<net::ReplyTo> kv_writing_;  // for the one under way
    bool is_kv_writing_ = false;
    std::unique_ptr<net::Timer> expiry_timer_;
    std::unique_ptr<net::Timer> watch_timer_;
    Counter& route_requests_;
    Counter& broker_requests_;
    Counter& kv_requests_;
    Counter& unknown_requests_;
    Counter& refused_registrations_;
    Counter& expired_brokers_;
    Counts counts_;
};

}  // namespace gantry::nameserver
