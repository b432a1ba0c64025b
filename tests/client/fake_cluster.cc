// SPDX-License-Identifier: Apache-2.0
#include "tests/client/fake_cluster.h"

#include "common/random.h"

#include <algorithm>

namespace gantry::client::test {

std::uint64_t test_seed() {
    const char* const wanted = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed =
        wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : random_seed();
    MESSAGE("GANTRY_TEST_SEED=" << seed);
    return seed;
}

FakeNameserver::FakeNameserver(net::EventLoop& loop) {
    net::Server::Options options;
    options.address = "127.0.0.1";
    server_ = net::Server::listen(options, {&loop}, *this).value();
}

FakeNameserver::~FakeNameserver() {
    server_->stop(std::chrono::milliseconds{0});
}

std::string FakeNameserver::address() const {
    return "127.0.0.1:" + std::to_string(server_->port());
}

void FakeNameserver::on_open(net::Connection& /*connection*/) {}

void FakeNameserver::on_close(net::Connection& connection, const Error& /*why*/) {
    std::erase_if(watches_, [&](const Watch& w) { return w.to.connection == connection.id(); });
}

void FakeNameserver::set_route(const std::string& topic, const wire::TopicRouteData& route) {
    routes_[topic] = route;
    changed(topic);
}

void FakeNameserver::remove_route(const std::string& topic) {
    routes_.erase(topic);
    changed(topic);
}

void FakeNameserver::changed(const std::string& topic) {
    ++versions_[topic];
    std::erase_if(watches_, [this](const Watch& watch) { return try_answer(watch); });
}

void FakeNameserver::on_frame(const net::Received& frame) {
    if (is_silent) {
        return;
    }
    switch (frame.header.request()) {
        case wire::RequestCode::kGetRouteInfoByTopic:
            answer_route(frame);
            return;
        case wire::RequestCode::kGetBrokerClusterInfo:
            answer_cluster(frame);
            return;
        case wire::RequestCode::kGetAllTopicListFromNameserver:
            answer_topics(frame);
            return;
        case wire::RequestCode::kDeleteTopicInNamesrv: {
            wire::TopicRequest fields;
            static_cast<void>(wire::decode_fields(frame.header, fields));
            remove_route(fields.topic());
            frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "");
            return;
        }
        case wire::RequestCode::kWatchRoutes:
            watch(frame);
            return;
        default:
            frame.connection.reply(
                net::reply_to(frame), wire::ResponseCode::kRequestCodeNotSupported, "");
    }
}

void FakeNameserver::answer_route(const net::Received& frame) {
    wire::TopicRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    ++route_queries;
    const auto found = routes_.find(fields.topic());
    if (found == routes_.end()) {
        frame.connection.reply(
            net::reply_to(frame), wire::ResponseCode::kTopicNotExist, "no such topic");
        return;
    }
    std::string body;
    wire::append_body(body, wire::Codec::kNative, found->second);
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, body);
}

void FakeNameserver::answer_cluster(const net::Received& frame) {
    wire::ClusterInfo info;
    for (const auto& [name, address] : masters) {
        wire::BrokerData& broker = (*info.mutable_brokeraddrtable())[name];
        broker.set_brokername(name);
        broker.set_cluster(cluster);
        (*broker.mutable_brokeraddrs())[0] = address;
        broker.mutable_brokeraddrs()->insert(slaves[name].begin(), slaves[name].end());
        (*info.mutable_clusteraddrtable())[cluster].add_values(name);
    }
    std::string body;
    wire::append_body(body, wire::Codec::kNative, info);
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, body);
}

void FakeNameserver::answer_topics(const net::Received& frame) {
    wire::TopicList list;
    for (const auto& [topic, route] : routes_) {
        list.add_topiclist(topic);
    }
    std::string body;
    wire::append_body(body, wire::Codec::kNative, list);
    frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, body);
}

void FakeNameserver::watch(const net::Received& frame) {
    if (!supports_watch) {
        frame.connection.reply(
            net::reply_to(frame), wire::ResponseCode::kRequestCodeNotSupported, "");
        return;
    }
    wire::WatchRoutesRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    Watch watch;
    watch.to = net::reply_to(frame);
    for (const auto& entry : fields.topics()) {
        watch.versions[entry.topic()] = entry.version();
    }
    if (!try_answer(watch)) {
        watches_.push_back(std::move(watch));
    }
}

bool FakeNameserver::try_answer(const Watch& watch) {
    wire::WatchRoutesBody answer;
    for (const auto& [topic, version] : watch.versions) {
        const auto known = versions_.find(topic);
        if (known == versions_.end() || known->second == version) {
            continue;
        }
        auto& entry = *answer.add_changed();
        entry.set_topic(topic);
        entry.set_version(known->second);
        const auto route = routes_.find(topic);
        entry.set_exists(route != routes_.end());
        if (route != routes_.end()) {
            *entry.mutable_route() = route->second;
        }
    }
    if (answer.changed().empty()) {
        return false;
    }
    std::string body;
    wire::append_body(body, wire::Codec::kNative, answer);
    if (net::Connection* connection = server_->find(watch.to.connection); connection != nullptr) {
        connection->reply(watch.to, wire::ResponseCode::kSuccess, "", nullptr, body);
    }
    return true;
}

FakeCluster::FakeCluster(int broker_count) {
    net::EventLoop::Options options;
    options.name = "fake-cluster";
    loop_ = net::EventLoop::create(options).value();
    nameserver_ = std::make_unique<FakeNameserver>(*loop_);
    for (int i = 0; i < broker_count; ++i) {
        brokers_.push_back(std::make_unique<FakeBroker>(
            *loop_, "broker-" + std::string(1, static_cast<char>('a' + i))));
        nameserver_->masters[brokers_.back()->name()] = brokers_.back()->address();
    }
    loop_->start_thread();
}

FakeCluster::~FakeCluster() {
    loop_->stop();
    loop_->join();
    brokers_.clear();
    nameserver_.reset();
}

void FakeCluster::create_topic(const std::string& topic, int queues, int perm) {
    std::vector<std::size_t> all(brokers_.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i] = i;
    }
    route_topic(topic, queues, all, perm);
}

void FakeCluster::route_topic(const std::string& topic,
                              int queues,
                              const std::vector<std::size_t>& brokers,
                              int perm) {
    wire::TopicRouteData route;
    for (const std::size_t index : brokers) {
        const FakeBroker& broker = *brokers_.at(index);
        wire::BrokerData& data = *route.add_brokerdatas();
        data.set_brokername(broker.name());
        data.set_cluster("cluster");
        (*data.mutable_brokeraddrs())[0] = broker.address();
        wire::QueueData& spec = *route.add_queuedatas();
        spec.set_brokername(broker.name());
        spec.set_readqueuenums(queues);
        spec.set_writequeuenums(queues);
        spec.set_perm(perm);
    }
    run([&] { nameserver_->set_route(topic, route); });
}

void FakeCluster::route_group(const std::string& topic,
                              int queues,
                              const Members& members,
                              std::int64_t epoch) {
    wire::TopicRouteData route;
    wire::BrokerData& data = *route.add_brokerdatas();
    data.set_brokername("group");
    data.set_cluster("cluster");
    data.set_epoch(epoch);
    data.mutable_brokeraddrs()->insert(members.begin(), members.end());
    wire::QueueData& spec = *route.add_queuedatas();
    spec.set_brokername("group");
    spec.set_readqueuenums(queues);
    spec.set_writequeuenums(queues);
    spec.set_perm(6);
    run([&] { nameserver_->set_route(topic, route); });
}

std::shared_ptr<Client> FakeCluster::connect(Client::Options options) {
    if (options.nameservers.empty()) {
        options.nameservers = {nameserver_->address()};
    }
    return Client::start(options).value();
}

std::size_t FakeCluster::stored_count(const std::string& topic) {
    return run([&] {
        std::size_t count = 0;
        for (const auto& broker : brokers_) {
            for (const auto& [key, stored] : broker->queues) {
                count += key.first == topic ? stored.size() : 0;
            }
        }
        return count;
    });
}

Message message_of(const std::string& topic, const std::string& body) {
    Message message;
    message.topic = topic;
    message.body = body;
    return message;
}

}  // namespace gantry::client::test
