// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/link/hello_answer.h"
#include "broker/replication/link/link_metrics.h"
#include "broker/replication/link/log_range.h"
#include "broker/replication/link/slave_link.h"
#include "broker/replication/replication_server.h"
#include "broker/work_pool.h"
#include "protocol/net/server.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

/// What is known of the one at the other end of a connection.
struct LinkPeer {
    std::string nonce;  ///< it was challenged with
    std::shared_ptr<SlaveLink> link;
    bool may_seed = false;  ///< it has proved who it is, and has to begin with a seed
};

/// The replication port and its links; for the server's own sources. What peers ask for is answered
/// in server_requests.cc.
struct ReplicationServer::State final : net::ConnectionHandler,
                                        std::enable_shared_from_this<State> {
    State(net::EventLoop& its_loop, Clock& its_clock, LinkOptions wanted, Callbacks wishes)
        : loop(its_loop),
          options(std::move(wanted)),
          callbacks(std::move(wishes)),
          metrics(options.metrics),
          source{.loop = its_loop, .clock = its_clock, .options = options, .metrics = metrics} {}

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;

private:
    friend class ReplicationServer;

    void challenge(const net::Received& frame);
    void greet(const net::Received& frame);
    void welcome(const net::Received& frame,
                 const wire::ReplicaHello& hello,
                 const HelloAnswer& answer);
    void begin_link(net::Connection& connection, const wire::ReplicaHello& hello, LogOffset from);
    void refer_to_master(const net::Received& frame, const wire::ReplicaHello& hello);
    void acknowledge(const net::Received& frame);
    void give_seed(const net::Received& frame);
    void give_status(const net::Received& frame);
    void give_range(const net::Received& frame);
    void refuse(const net::Received& frame, wire::ResponseCode code, const std::string& why);
    template <class Make>
    void answer_later(const net::Received& frame, Make make);
    void answer(const net::ReplyTo& to, RangeAnswer made);

    void set_store(storage::Store* store);
    void start_ticking();
    void tick();
    void pump_all();
    void drop_links(const Error& why);
    void drop_link(SlaveLink& link);
    std::vector<wire::ReplicaLink> describe_links() const;

    bool is_leading() const noexcept { return source.epoch > 0 && source.store != nullptr; }

    net::EventLoop& loop;
    const LinkOptions options;
    Callbacks callbacks;
    LinkMetrics metrics;
    LinkSource source;
    std::unique_ptr<net::Server> server;
    std::unique_ptr<WorkPool> readers;  ///< of the stream; never behind what waits for a slave
    std::unique_ptr<WorkPool> jobs;     ///< seeds and ranges
    std::unique_ptr<net::Timer> ticker;
    std::map<std::int64_t, std::shared_ptr<SlaveLink>> links;  ///< by member
    std::map<std::int64_t, LogOffset> ends;                    ///< acknowledged last, by member
    std::int64_t master = GroupState::kNobody;
    std::string master_address;
    std::map<net::ConnectionId, net::Connection*> open;
    std::atomic<bool> is_closed{false};
};

}  // namespace gantry::broker
