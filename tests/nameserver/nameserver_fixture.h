// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "nameserver/nameserver.h"
#include "protocol/wire/nameserver.pb.h"
#include "tests/harness/rpc_client.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace gantry::nameserver {

/// A nameserver on a port of its own, and requests to it.
class NameserverFixture {
public:
    NameserverFixture() { start(); }

    void start() {
        settings.base.listen_address = "127.0.0.1";
        settings.base.listen_port = 0;
        settings.base.http_port = 0;
        nameserver.reset();
        Result<std::unique_ptr<Nameserver>> started = Nameserver::start(settings, clock);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        nameserver = std::move(started).value();
        client = std::make_unique<harness::RpcClient>(address());
    }

    std::string address() const { return "127.0.0.1:" + std::to_string(nameserver->port()); }

    static wire::RegisterBrokerRequest broker_a() {
        wire::RegisterBrokerRequest request;
        request.set_brokername("broker-a");
        request.set_brokeraddr("127.0.0.1:10911");
        request.set_clustername("DefaultCluster");
        request.set_haserveraddr("127.0.0.1:10912");
        request.set_brokerid(0);
        return request;
    }

    static wire::BrokerIdentity identity_a() {
        wire::BrokerIdentity identity;
        identity.set_brokername("broker-a");
        identity.set_brokeraddr("127.0.0.1:10911");
        identity.set_clustername("DefaultCluster");
        identity.set_brokerid(0);
        return identity;
    }

    static wire::RegisterBrokerBody body_of(std::int64_t version,
                                            const std::vector<std::string>& topics) {
        wire::RegisterBrokerBody body;
        wire::TopicConfigTable& table = *body.mutable_topicconfigserializewrapper();
        table.mutable_dataversion()->set_counter(version);
        table.mutable_dataversion()->set_timestamp(1'700'000'000'000);
        for (const std::string& topic : topics) {
            wire::TopicConfig& config = (*table.mutable_topicconfigtable())[topic];
            config.set_topicname(topic);
            config.set_perm(6);
            config.set_readqueuenums(4);
            config.set_writequeuenums(4);
        }
        return body;
    }

    /// Registers broker-a with these topics; the answer's summary.
    std::string add(harness::RpcClient& from,
                    std::int64_t version,
                    const std::vector<std::string>& topics) {
        const auto request = broker_a();
        return from
            .call_with_body(wire::RequestCode::kRegisterBroker, &request, body_of(version, topics))
            .summary();
    }

    harness::Answer route(harness::RpcClient& from, const std::string& topic) {
        wire::TopicRequest request;
        request.set_topic(topic);
        return from.call(wire::RequestCode::kGetRouteInfoByTopic, &request);
    }

    std::string put_kv(const std::string& name_space,
                       const std::string& key,
                       const std::string& value) {
        wire::KvRequest request;
        request.set_namespace_(name_space);
        request.set_key(key);
        request.set_value(value);
        return client->call(wire::RequestCode::kPutKvConfig, &request).summary();
    }

    std::string get_kv(const std::string& name_space, const std::string& key) {
        wire::KvRequest request;
        request.set_namespace_(name_space);
        request.set_key(key);
        const harness::Answer answer = client->call(wire::RequestCode::kGetKvConfig, &request);
        return answer.summary() + " " + answer.fields<wire::KvValueResponse>().value();
    }

    /// Parks a watch of one topic.
    std::future<harness::Answer> watch(const std::string& topic,
                                       std::uint64_t version,
                                       std::int64_t suspend_ms) {
        wire::WatchRoutesRequest request;
        request.set_suspendtimeoutmillis(suspend_ms);
        wire::WatchRoutesRequest::Entry& entry = *request.add_topics();
        entry.set_topic(topic);
        entry.set_version(version);
        return client->start(wire::RequestCode::kWatchRoutes, &request);
    }

    /// The version a watch that knows nothing is told at once.
    std::uint64_t version_of(const std::string& topic) {
        const auto body = watch(topic, 0, 60'000).get().body_as<wire::WatchRoutesBody>();
        return body.changed_size() == 1 ? body.changed(0).version() : 0;
    }

    double metric(const std::string& name) const {
        const auto values = nameserver->metrics().values();
        const auto entry = values.find(name);
        return entry == values.end() ? -1 : entry->second;
    }

    SystemClock clock;
    NameserverSettings settings;
    harness::TempDirectory directory;
    std::unique_ptr<Nameserver> nameserver;
    std::unique_ptr<harness::RpcClient> client;
};

}  // namespace gantry::nameserver
