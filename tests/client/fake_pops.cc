// SPDX-License-Identifier: Apache-2.0
#include "tests/client/fake_pops.h"

#include "protocol/wire/codes.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <utility>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

std::string record_of(const std::string& topic,
                      std::int32_t queue,
                      std::int64_t offset,
                      const FakePops::Given& given) {
    std::string properties;
    if (!given.tag.empty()) {
        static_cast<void>(wire::append_property(properties, wire::property::kTags, given.tag));
    }
    wire::Record record;
    record.topic = topic;
    record.queue_id = queue;
    record.queue_offset = QueueOffset(offset);
    record.body = as_bytes(given.body);
    record.properties = properties;
    std::string bytes(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    if (given.is_damaged) {
        bytes[bytes.find(given.body)] = '\0';
    }
    return bytes;
}

}  // namespace

FakePops::FakePops(FakeCluster& cluster, std::size_t broker)
    : cluster_(cluster), broker_(cluster.broker(broker)) {
    cluster_.run([this] {
        broker_.on_other = [state = state_, &at = broker_](const net::Received& frame) {
            return take(*state, at, frame);
        };
    });
}

void FakePops::give(const std::string& topic,
                    std::int32_t queue,
                    std::int64_t offset,
                    const std::vector<Given>& messages) {
    cluster_.run([&] {
        std::string records;
        for (const Given& given : messages) {
            records += record_of(topic, queue, offset++, given);
        }
        state_->answers.push_back(std::move(records));
        answer_next(*state_, broker_);
    });
}

void FakePops::answer_next(State& state, FakeBroker& broker) {
    while (!state.answers.empty() && !state.waiting.empty()) {
        wire::PopMessageResponse fields;
        fields.set_poptime(state.next_receipt++);
        fields.set_invisibletime(60'000);
        fields.set_reviveqid(0);
        fields.set_restnum(0);
        broker.reply(
            state.waiting.front(), wire::ResponseCode::kSuccess, &fields, state.answers.front());
        state.waiting.pop_front();
        state.answers.pop_front();
    }
}

void FakePops::answer_empty(bool does) {
    cluster_.run([&] { state_->answers_empty = does; });
}

void FakePops::on_settle(std::function<SendAction(int)> action) {
    cluster_.run([&] { state_->on_settle = std::move(action); });
}

std::vector<wire::PopMessageRequest> FakePops::pops() const {
    return cluster_.run([this] { return state_->pops; });
}

std::size_t FakePops::waiting() const {
    return cluster_.run([this] { return state_->waiting.size(); });
}

std::vector<FakePops::Settled> FakePops::settled() const {
    return cluster_.run([this] { return state_->settled; });
}

int FakePops::settle_requests() const {
    return cluster_.run([this] { return state_->settle_requests; });
}

bool FakePops::take(State& state, FakeBroker& broker, const net::Received& frame) {
    if (frame.header.request() == wire::RequestCode::kSettlePops) {
        take_settles(state, frame);
        return true;
    }
    if (frame.header.request() != wire::RequestCode::kPopMessage) {
        return false;
    }
    wire::PopMessageRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    state.pops.push_back(fields);
    if (state.answers_empty) {
        broker.reply(net::reply_to(frame), wire::ResponseCode::kPollingTimeout);
        return true;
    }
    state.waiting.push_back(net::reply_to(frame));
    answer_next(state, broker);
    return true;
}

void FakePops::take_settles(State& state, const net::Received& frame) {
    wire::SettlePopsRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    const int number = state.settle_requests++;
    const SendAction action = state.on_settle ? state.on_settle(number) : SendAction{};
    if (action.kind == Kind::kRefuse) {
        frame.connection.reply(net::reply_to(frame), action.code, "fake");
        return;
    }
    if (action.kind == Kind::kCut) {
        frame.connection.close(Error{Errc::kGone, "cut"}, false);
        return;
    }
    wire::SettlePopsResponse answer;
    for (const auto& settle : fields.settles()) {
        state.settled.push_back({settle.queueid(),
                                 settle.poptime(),
                                 settle.from(),
                                 settle.count(),
                                 settle.has_invisibletime() ? settle.invisibletime() : -1,
                                 settle.undelivered()});
        answer.add_settled(settle.count());
    }
    if (action.kind != Kind::kHold) {
        frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", &answer);
    }
}

}  // namespace gantry::client::test
