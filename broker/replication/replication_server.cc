// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/replication_server.h"

#include "broker/replication/link/server_state.h"
#include "common/log.h"
#include "protocol/net/server.h"
#include "storage/store.h"

#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replication");
constexpr std::uint32_t kRequestBytesMax = std::uint32_t{8} << 20U;
constexpr std::uint64_t kOutputSlackBytes = std::uint64_t{64} << 20U;
constexpr std::chrono::seconds kIdleMax{60};
constexpr std::size_t kReaders = 2;
constexpr std::size_t kReadsMax = 256;
constexpr std::size_t kJobsMax = 64;
constexpr std::uint32_t kConnectionsMax = 256;

}  // namespace

void ReplicationServer::State::on_open(net::Connection& connection) {
    connection.set_context(std::make_shared<LinkPeer>());
    connection.set_user_timeout(options.silence_max);
    open[connection.id()] = &connection;
}

void ReplicationServer::State::on_close(net::Connection& connection, const Error& why) {
    open.erase(connection.id());
    auto* const peer = connection.context<LinkPeer>();
    if (peer == nullptr || peer->link == nullptr) {
        return;
    }
    const std::shared_ptr<SlaveLink> link = std::exchange(peer->link, nullptr);
    if (link->connection() != nullptr) {
        kLog.info("slave_lost", {{"member", link->id().member}, {"reason", why}});
        drop_link(*link);
    }
}

void ReplicationServer::State::on_frame(const net::Received& frame) {
    if (is_closed) {
        return;
    }
    switch (frame.header.request()) {
        case wire::RequestCode::kReplicaChallenge:
            return challenge(frame);
        case wire::RequestCode::kReplicaHello:
            return greet(frame);
        case wire::RequestCode::kReplicaAck:
            return acknowledge(frame);
        case wire::RequestCode::kReplicaSeed:
            return give_seed(frame);
        case wire::RequestCode::kReplicaStatus:
            return give_status(frame);
        case wire::RequestCode::kReplicaRange:
            return give_range(frame);
        default:
            return frame.connection.reply(net::reply_to(frame),
                                          wire::ResponseCode::kRequestCodeNotSupported,
                                          "this port is for members of a broker group");
    }
}

void ReplicationServer::State::set_store(storage::Store* store) {
    drop_links({Errc::kClosed, "the store is closed"});
    readers.reset();
    jobs.reset();
    source.store = store;
    source.readers = nullptr;
    source.confirmed = LogOffset(0);
    if (store != nullptr) {
        readers = std::make_unique<WorkPool>(kReaders, kReadsMax);
        jobs = std::make_unique<WorkPool>(1, kJobsMax);
        source.readers = readers.get();
    }
}

void ReplicationServer::State::start_ticking() {
    if (ticker == nullptr) {
        ticker = std::make_unique<net::Timer>(loop, [this] { tick(); });
        ticker->start_every(options.heartbeat);
    }
}

void ReplicationServer::State::tick() {
    if (!is_leading() || links.empty()) {
        return;
    }
    const wire::ReplicaStatus status = callbacks.status();
    const LogOffset end = source.store->watermarks().appended;
    const std::map<std::int64_t, std::shared_ptr<SlaveLink>> now_linked = links;
    for (const auto& [member, link] : now_linked) {
        bool is_in_sync = false;
        for (const wire::InSyncMember& one : status.insync()) {
            is_in_sync = is_in_sync || (one.member() == link->id().member &&
                                        one.storageid() == link->id().storage);
        }
        link->set_in_sync(is_in_sync);
        if (const Status alive = link->tick(source.clock.steady()); !alive) {
            link->connection()->close(alive.error(), false);
        }
    }
    for (const auto& [member, acknowledged] : ends) {
        metrics.set_lag(member, end - acknowledged);
    }
}

void ReplicationServer::State::pump_all() {
    if (!is_leading()) {
        return;
    }
    for (const auto& [member, link] : links) {
        link->pump();
    }
}

void ReplicationServer::State::drop_link(SlaveLink& link) {
    link.stopped();
    const auto at = links.find(link.id().member);
    if (at != links.end() && at->second.get() == &link) {
        const std::shared_ptr<SlaveLink> kept = std::move(at->second);
        links.erase(at);
        if (!is_closed) {
            callbacks.on_lost(kept->id());
        }
    }
}

void ReplicationServer::State::drop_links(const Error& why) {
    while (!links.empty()) {
        const std::shared_ptr<SlaveLink> link = links.begin()->second;
        net::Connection* const connection = link->connection();
        drop_link(*link);
        if (connection != nullptr) {
            connection->close(why, false);
        }
    }
}

std::vector<wire::ReplicaLink> ReplicationServer::State::describe_links() const {
    std::vector<wire::ReplicaLink> described;
    for (const auto& [member, link] : links) {
        described.push_back(link->describe());
    }
    return described;
}

ReplicationServer::ReplicationServer(net::EventLoop& loop,
                                     Clock& clock,
                                     LinkOptions options,
                                     Callbacks callbacks)
    : state_(std::make_shared<State>(loop, clock, std::move(options), std::move(callbacks))) {}

ReplicationServer::~ReplicationServer() {
    close();
}

Status ReplicationServer::listen(const std::string& address, std::uint16_t port) {
    net::Server::Options wanted;
    wanted.address = address;
    wanted.port = port;
    wanted.connections_max = kConnectionsMax;
    wanted.connection.frame.frame_bytes_max = kRequestBytesMax;
    wanted.connection.frame.header_bytes_max = kRequestBytesMax;
    wanted.connection.output_bytes_max = 2 * state_->options.window_bytes + kOutputSlackBytes;
    wanted.connection.idle_max = kIdleMax;
    GANTRY_ASSIGN_OR_RETURN(state_->server, net::Server::listen(wanted, {&state_->loop}, *state_));
    return ok();
}

std::uint16_t ReplicationServer::port() const noexcept {
    return state_->server != nullptr ? state_->server->port() : std::uint16_t{0};
}

void ReplicationServer::set_store(storage::Store* store) {
    state_->set_store(store);
}

void ReplicationServer::lead(std::int64_t epoch) {
    state_->drop_links({Errc::kClosed, "a new epoch begins"});
    state_->source.epoch = epoch;
    state_->source.confirmed = LogOffset(0);
    state_->ends.clear();
    state_->master = state_->options.self.member;
    state_->start_ticking();
}

void ReplicationServer::yield(std::int64_t master, const std::string& address) {
    state_->source.epoch = 0;
    state_->master = master;
    state_->master_address = address;
    for (const auto& [member, end] : state_->ends) {
        state_->metrics.set_lag(member, 0);
    }
    state_->drop_links({Errc::kClosed, "this broker is not the master any more"});
}

void ReplicationServer::appended() {
    if (state_->source.is_armed.exchange(false, std::memory_order_acq_rel)) {
        // A loop that has ended sends nothing.
        [[maybe_unused]] const Status posted =
            state_->loop.post([weak = std::weak_ptr<State>(state_)] {
                if (const std::shared_ptr<State> self = weak.lock()) {
                    self->pump_all();
                }
            });
    }
}

void ReplicationServer::confirm(LogOffset to) {
    LogOffset& confirmed = state_->source.confirmed;
    if (to <= confirmed) {
        return;
    }
    confirmed = to;
    if (state_->is_leading()) {
        for (const auto& [member, link] : state_->links) {
            link->confirmed();
        }
    }
}

std::vector<wire::ReplicaLink> ReplicationServer::links() const {
    return state_->is_leading() ? state_->describe_links() : std::vector<wire::ReplicaLink>();
}

void ReplicationServer::close() {
    if (state_->is_closed.exchange(true)) {
        return;
    }
    if (state_->server != nullptr) {
        // Timers end on their loop; one that has ended needs none of that.
        [[maybe_unused]] const Status posted =
            state_->loop.post([state = state_] { state->ticker.reset(); });
        state_->server->stop(std::chrono::milliseconds(0));
    }
    state_->readers.reset();
    state_->jobs.reset();
}

}  // namespace gantry::broker
