// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/flow_control.h"

#include "broker/settings.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr std::size_t kClientsSweepMin = 1'024;

void set_rate(TokenBucket& bucket, std::int64_t rate) noexcept {
    if (bucket.rate() != rate) {
        bucket.set_rate(rate);
    }
}

bool limits_sends(const wire::FlowLimit& limit) {
    return limit.sendmessages() != 0 || limit.sendbytes() != 0;
}

bool limits_deliveries(const wire::FlowLimit& limit) {
    return limit.delivermessages() != 0 || limit.deliverbytes() != 0;
}

FlowBucketsPtr find(const FlowTable::ByName& in, const std::string& name) {
    const auto at = in.find(name);
    return at == in.end() ? nullptr : at->second;
}

}  // namespace

void FlowBuckets::set(const wire::FlowLimit& limit) noexcept {
    set_rate(send_messages, limit.sendmessages());
    set_rate(send_bytes, limit.sendbytes());
    set_rate(deliver_messages, limit.delivermessages());
    set_rate(deliver_bytes, limit.deliverbytes());
}

FlowControl::FlowControl(const BrokerOptions& options) : options_(options) {
    set({});
}

std::shared_ptr<const FlowTable> FlowControl::table() const {
    const MutexLock lock(mutex_);
    return table_;
}

std::vector<wire::FlowLimit> FlowControl::defaults() const {
    wire::FlowLimit broker;
    broker.set_scope("broker");
    broker.set_sendmessages(options_.flow_broker_send_messages);
    broker.set_sendbytes(options_.flow_broker_send_bytes);
    broker.set_delivermessages(options_.flow_broker_deliver_messages);
    broker.set_deliverbytes(options_.flow_broker_deliver_bytes);
    wire::FlowLimit client;
    client.set_scope("client");
    client.set_sendmessages(options_.flow_client_send_messages);
    client.set_sendbytes(options_.flow_client_send_bytes);
    client.set_delivermessages(options_.flow_client_deliver_messages);
    client.set_deliverbytes(options_.flow_client_deliver_bytes);
    return {broker, client};
}

/// What has the limit already keeps the level of its buckets.
FlowBucketsPtr FlowControl::keep(const wire::FlowLimit& limit) {
    FlowBucketsPtr buckets;
    if (table_ != nullptr && limit.scope() == "broker") {
        buckets = table_->broker;
    } else if (table_ != nullptr) {
        buckets = find(limit.scope() == "topic" ? table_->topics : table_->groups, limit.name());
    }
    if (buckets == nullptr) {
        buckets = std::make_shared<FlowBuckets>();
        buckets->whose =
            limit.name().empty() ? "the " + limit.scope() : limit.scope() + ' ' + limit.name();
    }
    buckets->set(limit);
    return buckets;
}

void FlowControl::set(const std::vector<wire::FlowLimit>& limits) {
    std::vector<wire::FlowLimit> all = defaults();
    all.insert(all.end(), limits.begin(), limits.end());
    auto table = std::make_shared<FlowTable>();
    table->names.reserve(all.size());
    const MutexLock lock(mutex_);
    wire::FlowLimit broker;
    for (const wire::FlowLimit& limit : all) {
        const std::string& name = table->names.emplace_back(limit.name());
        if (limit.scope() == "broker") {
            broker = limit;
            continue;
        }
        if (limit.scope() == "client" && name.empty()) {
            table->any_client = limit;
        } else if (limit.scope() == "client") {
            table->clients[name] = limit;
        } else {
            (limit.scope() == "topic" ? table->topics : table->groups)[name] = keep(limit);
        }
    }
    table->broker = keep(broker);
    all.front() = broker;
    all[1] = table->any_client;
    for (const wire::FlowLimit& limit : all) {
        table->limits_sends = table->limits_sends || limits_sends(limit);
        table->limits_deliveries = table->limits_deliveries || limits_deliveries(limit);
        table->limits_clients =
            table->limits_clients ||
            (limit.scope() == "client" && (limits_sends(limit) || limits_deliveries(limit)));
    }
    table_ = std::move(table);
    version_.fetch_add(1, std::memory_order_acq_rel);
}

FlowBucketsPtr FlowControl::client(const FlowTable& table, const std::string& client_id) {
    const auto own = table.clients.find(client_id);
    const wire::FlowLimit& limit = own == table.clients.end() ? table.any_client : own->second;
    const MutexLock lock(mutex_);
    if (clients_.size() > 2 * clients_swept_ + kClientsSweepMin) {
        std::erase_if(clients_, [](const auto& each) { return each.second.expired(); });
        clients_swept_ = clients_.size();
    }
    std::weak_ptr<FlowBuckets>& kept = clients_[client_id];
    FlowBucketsPtr buckets = kept.lock();
    if (buckets == nullptr) {
        buckets = std::make_shared<FlowBuckets>();
        buckets->whose = "client " + client_id;
        kept = buckets;
    }
    buckets->set(limit);
    return buckets;
}

std::size_t FlowControl::client_count() const {
    const MutexLock lock(mutex_);
    return static_cast<std::size_t>(std::count_if(
        clients_.begin(), clients_.end(), [](const auto& each) { return !each.second.expired(); }));
}

}  // namespace gantry::broker
