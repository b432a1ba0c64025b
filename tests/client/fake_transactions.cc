// SPDX-License-Identifier: Apache-2.0
#include "tests/client/fake_transactions.h"

#include "protocol/wire/codes.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <utility>

namespace gantry::client::test {
namespace {

using Kind = SendAction::Kind;

constexpr std::int64_t kHalfBytes = 1'000;  // log offset of half message n: (n + 1) * kHalfBytes

LogOffset log_offset_of(std::size_t index) {
    return LogOffset(static_cast<std::int64_t>(index + 1) * kHalfBytes);
}

/// Whether the request is to be answered as done; else what the action says has been done.
bool answers(const SendAction& action, const net::Received& frame) {
    switch (action.kind) {
        case Kind::kStore:
            return true;
        case Kind::kRefuse:
            frame.connection.reply(net::reply_to(frame), action.code, "fake");
            return false;
        case Kind::kCut:
        case Kind::kStoreCut:
            frame.connection.close(Error{Errc::kGone, "cut"}, false);
            return false;
        default:
            return false;
    }
}

bool stores(const SendAction& action) {
    return action.kind == Kind::kStore || action.kind == Kind::kStoreMute ||
           action.kind == Kind::kStoreCut;
}

}  // namespace

FakeTransactions::FakeTransactions(FakeCluster& cluster, std::size_t broker)
    : cluster_(cluster), broker_(cluster.broker(broker)) {
    cluster_.run([this] {
        broker_.on_other = [state = state_, address = broker_.address()](
                               const net::Received& frame) { return take(*state, address, frame); };
    });
}

void FakeTransactions::on_half(std::function<SendAction(int)> action) {
    cluster_.run([&] { state_->on_half = std::move(action); });
}

void FakeTransactions::on_end(std::function<SendAction(int)> action) {
    cluster_.run([&] { state_->on_end = std::move(action); });
}

std::vector<FakeTransactions::Half> FakeTransactions::halves() const {
    return cluster_.run([this] { return state_->halves; });
}

FakeTransactions::Half FakeTransactions::half(std::size_t index) const {
    return cluster_.run(
        [&] { return index < state_->halves.size() ? state_->halves[index] : Half{}; });
}

int FakeTransactions::half_requests() const {
    return cluster_.run([this] { return state_->half_requests; });
}

bool FakeTransactions::has_producer(const std::string& group) const {
    return cluster_.run([&] { return broker_.producers.contains(group); });
}

bool FakeTransactions::ask(std::size_t index) {
    return cluster_.run([&] {
        const Half& half = state_->halves.at(index);
        wire::Record record;
        record.topic = half.topic;
        record.queue_id = half.queue;
        record.body = as_bytes(half.body);
        record.properties = state_->properties[index];
        std::string bytes(wire::record_bytes(record), '\0');
        wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
        wire::CheckTransactionStateRequest fields;
        fields.set_topic(half.topic);
        fields.set_msgid(half.id);
        fields.set_transactionid(half.id);
        fields.set_commitlogoffset(log_offset_of(index).value);
        fields.set_transtatetableoffset(static_cast<std::int64_t>(index));
        return broker_.tell_producer(
            half.group, wire::RequestCode::kCheckTransactionState, fields, bytes);
    });
}

bool FakeTransactions::take(State& state, const std::string& address, const net::Received& frame) {
    switch (frame.header.request()) {
        case wire::RequestCode::kSendMessageV2:
            take_half(state, address, frame);
            return true;
        case wire::RequestCode::kEndTransaction:
            take_end(state, frame);
            return true;
        default:
            return false;
    }
}

void FakeTransactions::take_half(State& state,
                                 const std::string& address,
                                 const net::Received& frame) {
    wire::SendMessageRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    const int number = state.half_requests++;
    const SendAction action = state.on_half ? state.on_half(number) : SendAction{};
    const std::size_t index = state.halves.size();
    if (stores(action)) {
        Half half;
        const std::string& properties = fields.properties();
        half.id = wire::find_property(properties, wire::property::kUniqueKey);
        half.immunity = wire::find_property(properties, wire::property::kCheckImmunity);
        half.topic = fields.topic();
        half.group = fields.producergroup();
        half.body = as_text(frame.body);
        half.queue = fields.queueid();
        state.halves.push_back(half);
        state.properties.push_back(properties);
    }
    if (answers(action, frame)) {
        wire::SendMessageResponse answer;
        answer.set_queueid(fields.queueid());
        answer.set_queueoffset(static_cast<std::int64_t>(index));
        answer.set_msgid(
            wire::format_message_id({wire::parse_host(address).value(), log_offset_of(index)}));
        frame.connection.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, "", &answer);
    }
}

void FakeTransactions::take_end(State& state, const net::Received& frame) {
    wire::EndTransactionRequest fields;
    static_cast<void>(wire::decode_fields(frame.header, fields));
    const int number = state.ends++;
    const SendAction action = state.on_end ? state.on_end(number) : SendAction{};
    const auto index = static_cast<std::size_t>(fields.commitlogoffset() / kHalfBytes - 1);
    const bool is_known = index < state.halves.size() &&
                          fields.transtatetableoffset() == static_cast<std::int64_t>(index) &&
                          fields.producergroup() == state.halves[index].group;
    if (is_known && stores(action)) {
        Half& half = state.halves[index];
        ++half.words;
        half.from_check += fields.fromtransactioncheck() ? 1 : 0;
        half.outcome = half.outcome == 0 ? fields.commitorrollback() : half.outcome;
    }
    if (answers(action, frame)) {
        frame.connection.reply(
            net::reply_to(frame),
            is_known ? wire::ResponseCode::kSuccess : wire::ResponseCode::kQueryNotFound,
            "");
    }
}

}  // namespace gantry::client::test
