// SPDX-License-Identifier: Apache-2.0
#include "client/core/heartbeats.h"

#include "client/core/loop_slot.h"
#include "common/log.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <chrono>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr milliseconds kPeriod{10'000};
constexpr milliseconds kLimit{3'000};

/// Calls `then` when the last copy is gone: after the last answer, whichever it is.
std::shared_ptr<Heartbeats::Then> when_all_done(Heartbeats::Then then) {
    return {std::make_unique<Heartbeats::Then>(std::move(then)).release(),
            [](Heartbeats::Then* last) {
                const std::unique_ptr<Heartbeats::Then> owned(last);
                if (*owned) {
                    (*owned)();
                }
            }};
}

}  // namespace

struct Heartbeats::Consumer {
    wire::ConsumerData data;
    std::function<void()> on_change;
};

Heartbeats::Heartbeats(LoopSlot& slot, RouteTable& routes, std::string client_id)
    : slot_(slot), routes_(routes), client_id_(std::move(client_id)) {}

Heartbeats::~Heartbeats() = default;

void Heartbeats::add_producer(const std::string& group) {
    slot_.post([this, group] {
        if (++producers_[group] == 1) {
            beat({});
        }
    });
}

void Heartbeats::remove_producer(const std::string& group) {
    slot_.post([this, group] {
        const auto found = producers_.find(group);
        if (found != producers_.end() && --found->second == 0) {
            producers_.erase(found);
            unregister(group, {}, {});
        }
    });
}

std::uint64_t Heartbeats::answer_checks(const std::string& group, OnCheck on_check) {
    const std::uint64_t listener = ++last_listener_;
    slot_.post([this, group, listener, on_check = std::move(on_check)] {
        checkers_.emplace(listener, std::pair(group, on_check));
    });
    return listener;
}

void Heartbeats::end_checks(std::uint64_t listener) {
    slot_.post([this, listener] { checkers_.erase(listener); });
}

std::uint64_t Heartbeats::receive_replies(OnReply on_reply) {
    const std::uint64_t listener = ++last_listener_;
    slot_.post([this, listener, on_reply = std::move(on_reply)] {
        reply_listeners_.emplace(listener, on_reply);
    });
    return listener;
}

void Heartbeats::end_replies(std::uint64_t listener) {
    slot_.post([this, listener] { reply_listeners_.erase(listener); });
}

void Heartbeats::put_consumer(const wire::ConsumerData& data,
                              std::function<void()> on_change,
                              Then then) {
    std::unique_ptr<Consumer>& consumer = consumers_[data.groupname()];
    consumer = std::make_unique<Consumer>(Consumer{data, std::move(on_change)});
    beat(std::move(then));
}

void Heartbeats::remove_consumer(const std::string& group, Then then) {
    consumers_.erase(group);
    unregister({}, group, std::move(then));
}

void Heartbeats::attach(net::Channel& channel) {
    channel.on_request([this, address = channel.address()](const net::Received& notice) {
        on_notice(notice, address);
    });
    channel.on_state([this, address = channel.address()](bool up) {
        if (up && beaten_.count(address) != 0) {
            beat_one(address, nullptr);
        }
    });
}

void Heartbeats::stop() {
    timer_.reset();
    consumers_.clear();
    producers_.clear();
    checkers_.clear();
    reply_listeners_.clear();
}

void Heartbeats::beat(Then then) {
    const std::shared_ptr<Then> all_done = when_all_done(std::move(then));
    if (timer_ == nullptr) {
        timer_ = std::make_unique<net::Timer>(slot_.loop(), [this] { beat({}); });
        timer_->start_every(kPeriod);
        subscription_ = routes_.subscribe([this](const RoutePtr&) {
            for (const std::string& address : routes_.all_addresses()) {
                if (beaten_.insert(address).second) {
                    beat_one(address, nullptr);
                }
            }
        });
    }
    for (const std::string& address : routes_.all_addresses()) {
        beaten_.insert(address);
        beat_one(address, all_done);
    }
}

void Heartbeats::beat_one(const std::string& address, const std::shared_ptr<Then>& then) {
    if (producers_.empty() && consumers_.empty()) {
        return;
    }
    net::Request request{wire::RequestCode::kHeartBeat, nullptr, body()};
    slot_.channel(address).call(
        std::move(request), kLimit, [address, then](Result<net::Received>& result) {
            const Status status = result ? check_response(*result, address) : result.error();
            if (!status) {
                kLog.debug("heartbeat_failed", {{"broker", address}, {"error", status.error()}});
            }
        });
}

std::string Heartbeats::body() const {
    wire::HeartbeatData data;
    data.set_clientid(client_id_);
    for (const auto& [group, count] : producers_) {
        data.add_producerdataset()->set_groupname(group);
    }
    for (const auto& [group, consumer] : consumers_) {
        *data.add_consumerdataset() = consumer->data;
    }
    std::string bytes;
    wire::append_body(bytes, slot_.codec(), data);
    return bytes;
}

void Heartbeats::unregister(const std::string& producer_group,
                            const std::string& consumer_group,
                            Then then) {
    const std::shared_ptr<Then> all_done = when_all_done(std::move(then));
    wire::UnregisterClientRequest fields;
    fields.set_clientid(client_id_);
    if (!producer_group.empty()) {
        fields.set_producergroup(producer_group);
    }
    if (!consumer_group.empty()) {
        fields.set_consumergroup(consumer_group);
    }
    for (const std::string& address : beaten_) {
        net::Channel& channel = slot_.channel(address);
        if (channel.is_up()) {  // a lost connection has unregistered it already
            channel.call({wire::RequestCode::kUnregisterClient, &fields, {}},
                         kLimit,
                         [all_done](Result<net::Received>&) {});
        }
    }
}

void Heartbeats::on_notice(const net::Received& notice, const std::string& address) {
    if (notice.header.request() == wire::RequestCode::kNotifyConsumerIdsChanged) {
        on_members_changed(notice);
    } else if (notice.header.request() == wire::RequestCode::kCheckTransactionState) {
        on_transaction_check(notice, address);
    } else if (notice.header.request() == wire::RequestCode::kPushReplyMessageToClient) {
        const auto listeners = reply_listeners_;  // one may go meanwhile
        for (const auto& [listener, on_reply] : listeners) {
            on_reply(notice);
        }
    } else if (!notice.header.is_oneway) {
        // An administrator's question that a RocketMQ broker passes on: it waits for an answer.
        notice.connection.reply(reply_to(notice),
                                wire::ResponseCode::kRequestCodeNotSupported,
                                "this client answers no such request");
    }
}

/// The group is in the half message itself.
void Heartbeats::on_transaction_check(const net::Received& notice, const std::string& address) {
    const Result<wire::Record> half = wire::parse_record(notice.body);
    if (!half) {
        kLog.warn("transaction_check_damaged", {{"broker", address}, {"error", half.error()}});
        return;
    }
    const std::string_view group =
        wire::find_property(half->properties, wire::property::kProducerGroup);
    for (const auto& [listener, checker] : checkers_) {
        if (checker.first == group) {
            checker.second(notice, address);
            return;
        }
    }
}

void Heartbeats::on_members_changed(const net::Received& notice) {
    wire::ConsumerGroupRequest fields;
    if (!wire::decode_fields(notice.header, fields)) {
        return;
    }
    const auto found = consumers_.find(fields.consumergroup());
    if (found != consumers_.end()) {
        found->second->on_change();
    }
}

}  // namespace gantry::client
