// SPDX-License-Identifier: Apache-2.0
#include "tests/client/fake_broker.h"

#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"

#include <algorithm>
#include <chrono>

namespace gantry::client::test {
namespace {

constexpr std::int32_t kSuspend = 2;
constexpr std::int64_t kStoreTime = 1'700'000'000'000;

template <class Fields>
Fields fields_in(const net::Received& frame) {
    Fields fields;
    if (!wire::decode_fields(frame.header, fields)) {
        return Fields{};
    }
    return fields;
}

bool wants(const std::string& expression, const std::string& tag) {
    if (expression.empty() || expression == "*") {
        return true;
    }
    std::size_t at = 0;
    while (at <= expression.size()) {
        const std::size_t end = std::min(expression.find("||", at), expression.size());
        std::string one = expression.substr(at, end - at);
        std::erase(one, ' ');
        // As the real one: by hash, so that a colliding tag gets through.
        if (wire::tag_hash(one) == wire::tag_hash(tag)) {
            return true;
        }
        at = end + 2;
    }
    return false;
}

}  // namespace

FakeBroker::FakeBroker(net::EventLoop& loop, std::string name)
    : loop_(loop), name_(std::move(name)) {
    net::Server::Options options;
    options.address = "127.0.0.1";
    server_ = net::Server::listen(options, {&loop}, *this).value();
}

FakeBroker::~FakeBroker() {
    server_->stop(std::chrono::milliseconds{0});
}

std::string FakeBroker::address() const {
    return "127.0.0.1:" + std::to_string(server_->port());
}

void FakeBroker::on_open(net::Connection& connection) {
    connections_.insert(&connection);
}

void FakeBroker::on_close(net::Connection& connection, const Error& /*why*/) {
    connections_.erase(&connection);
    for (auto& [group, ids] : members) {
        const std::size_t left = std::erase_if(
            ids, [&](const auto& entry) { return entry.second == connection.id().value; });
        if (left > 0) {
            notify_members(group);
        }
    }
    std::erase_if(parked_,
                  [&](const auto& pull) { return pull->to.connection == connection.id(); });
}

void FakeBroker::cut_all() {
    for (net::Connection* connection : connections_) {
        connection->close(Error{Errc::kGone, "the test cuts the line"}, false);
    }
}

bool FakeBroker::tell_producer(const std::string& group,
                               wire::RequestCode code,
                               const google::protobuf::Message& fields,
                               const std::string& body) {
    const auto at = producer_at.find(group);
    net::Connection* const connection =
        at == producer_at.end() ? nullptr : server_->find(at->second);
    if (connection != nullptr) {
        connection->send_oneway(wire::Codec::kNative, code, &fields, body);
    }
    return connection != nullptr;
}

void FakeBroker::reply(const net::ReplyTo& to,
                       wire::ResponseCode code,
                       const google::protobuf::Message* fields,
                       const std::string& body) {
    if (net::Connection* connection = server_->find(to.connection); connection != nullptr) {
        connection->reply(
            to, code, code == wire::ResponseCode::kSuccess ? "" : "fake", fields, body);
    }
}

void FakeBroker::reply_body(const net::ReplyTo& to, const google::protobuf::Message& body) {
    std::string bytes;
    wire::append_body(bytes, wire::Codec::kNative, body);
    reply(to, wire::ResponseCode::kSuccess, nullptr, bytes);
}

void FakeBroker::on_frame(const net::Received& frame) {
    if (is_silent) {
        return;
    }
    if (frame.header.request() == wire::RequestCode::kSendRecords) {
        send(frame);
        return;
    }
    if (frame.header.request() == wire::RequestCode::kPullMessage) {
        const auto fields = fields_in<wire::PullMessageRequest>(frame);
        pulls.push_back(fields);
        pull(net::reply_to(frame), fields, (fields.sysflag() & kSuspend) != 0);
        return;
    }
    if (!answer_offsets(frame) && !answer_group(frame) && !answer_admin(frame) &&
        !(on_other && on_other(frame))) {
        reply(net::reply_to(frame), wire::ResponseCode::kRequestCodeNotSupported);
    }
}

void FakeBroker::send(const net::Received& frame) {
    const auto fields = fields_in<wire::SendRecordsRequest>(frame);
    Held held;
    held.to = net::reply_to(frame);
    held.seen = SeenFrame{fields.topic(),
                          fields.queueid(),
                          fields.count(),
                          frame.body.size(),
                          fields.haskeys(),
                          fields.hastags(),
                          frame.header.is_oneway};
    held.body = as_text(frame.body);
    held.seen.number = FakeNumbers::number_of(frame.body);
    frames.push_back(held.seen);
    const SendAction action = on_send ? on_send(held.seen) : SendAction{};
    if (action.kind == SendAction::Kind::kHold) {
        held_.push_back(std::move(held));
    } else {
        carry_out(held, action);
    }
}

void FakeBroker::release_held(SendAction action) {
    for (const Held& held : std::exchange(held_, {})) {
        carry_out(held, action);
    }
}

void FakeBroker::carry_out(const Held& held, SendAction action) {
    net::Connection* connection = server_->find(held.to.connection);
    switch (action.kind) {
        case SendAction::Kind::kRefuse:
            reply(held.to, action.code, &action.told);
            return;
        case SendAction::Kind::kCut:
            if (connection != nullptr) {
                connection->close(Error{Errc::kGone, "cut"}, false);
            }
            return;
        default:
            break;
    }
    const std::optional<wire::SendRecordsResponse> answer = store_once(held);
    if (answer && action.kind == SendAction::Kind::kStore) {
        reply(held.to, wire::ResponseCode::kSuccess, &*answer);
    } else if (action.kind == SendAction::Kind::kStoreCut && connection != nullptr) {
        connection->close(Error{Errc::kGone, "cut"}, false);
    }
}

/// Nothing: it is out of turn, and answered so.
std::optional<wire::SendRecordsResponse> FakeBroker::store_once(const Held& held) {
    const SeenFrame& seen = held.seen;
    if (!seen.number) {
        return append(seen.topic, seen.queue, as_bytes(held.body));
    }
    const FakeNumbers::Key key{seen.topic, seen.queue, seen.number->producer};
    const wire::ResponseCode code = numbers.judge(key, *seen.number);
    if (code != wire::ResponseCode::kSuccess) {
        reply(held.to, code);
        return std::nullopt;
    }
    if (const auto before = numbers.stored(key, *seen.number)) {
        return before;
    }
    const wire::SendRecordsResponse answer = append(seen.topic, seen.queue, as_bytes(held.body));
    numbers.note(key, *seen.number, seen.count, answer);
    return answer;
}

wire::SendRecordsResponse FakeBroker::append(const std::string& topic,
                                             std::int32_t queue,
                                             Bytes records) {
    std::deque<StoredRecord>& stored = queues[{topic, queue}];
    const std::int64_t first = first_offset[{topic, queue}];
    wire::SendRecordsResponse answer;
    answer.set_queueoffset(first + static_cast<std::int64_t>(stored.size()));
    answer.set_logoffset(log_end_);
    answer.set_storetimestamp(kStoreTime);
    const wire::Host host = wire::parse_host(address()).value();
    const Status status =
        wire::for_each_record(records, [&](const std::byte* at, const wire::Record& record) {
            StoredRecord& added = stored.emplace_back();
            added.bytes = as_text(Bytes(at, record.stored_bytes));
            added.body = as_text(record.body);
            added.tag = wire::find_property(record.properties, wire::property::kTags);
            wire::patch_record(reinterpret_cast<std::byte*>(added.bytes.data()),
                               {QueueOffset{first + static_cast<std::int64_t>(stored.size()) - 1},
                                LogOffset{log_end_},
                                kStoreTime,
                                host,
                                false});
            log_end_ += static_cast<std::int64_t>(record.stored_bytes);
            return ok();
        });
    if (!status) {
        stored.clear();  // a test that counts will fail
    }
    wake(topic);
    return answer;
}

void FakeBroker::store(const std::string& topic,
                       std::int32_t queue,
                       const std::string& body,
                       const std::string& tag) {
    wire::Record record;
    record.topic = topic;
    record.queue_id = queue;
    std::string properties;
    if (!tag.empty()) {
        static_cast<void>(wire::append_property(properties, wire::property::kTags, tag));
    }
    store_record(record, body, properties);
}

void FakeBroker::store_retry(const std::string& retry_topic,
                             const std::string& origin,
                             const std::string& body) {
    wire::Record record;
    record.topic = retry_topic;
    record.reconsume_times = 1;
    std::string properties;
    static_cast<void>(wire::append_property(properties, wire::property::kRetryTopic, origin));
    store_record(record, body, properties);
}

void FakeBroker::store_record(wire::Record record,
                              const std::string& body,
                              const std::string& properties) {
    record.body = as_bytes(body);
    record.properties = properties;
    std::string bytes(wire::record_bytes(record), '\0');
    wire::encode_record(record, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    append(std::string(record.topic), record.queue_id, as_bytes(bytes));
}

void FakeBroker::truncate_below(const std::string& topic, std::int32_t queue, std::int64_t offset) {
    std::int64_t& first = first_offset[{topic, queue}];
    std::deque<StoredRecord>& stored = queues[{topic, queue}];
    while (first < offset && !stored.empty()) {
        stored.pop_front();
        ++first;
    }
}

void FakeBroker::pull(const net::ReplyTo& to,
                      const wire::PullMessageRequest& fields,
                      bool may_park) {
    const QueueKey key{fields.topic(), fields.queueid()};
    const std::deque<StoredRecord>& stored = queues[key];
    const std::int64_t min = first_offset[key];
    const std::int64_t max = min + static_cast<std::int64_t>(stored.size());
    wire::PullMessageResponse answer;
    answer.set_minoffset(min);
    answer.set_maxoffset(max);
    answer.set_suggestwhichbrokerid(suggested);
    std::int64_t at = fields.queueoffset();
    if (at < min || at > max) {
        answer.set_nextbeginoffset(at < min ? min : max);
        reply(to, wire::ResponseCode::kPullOffsetMoved, &answer);
        return;
    }
    std::string body;
    int count = 0;
    while (at < max && count < fields.maxmsgnums() &&
           static_cast<std::int64_t>(body.size()) < fields.maxmsgbytes()) {
        if (count > 0 && lost[key].count(at) != 0) {
            break;
        }
        if (tell_lost(to, key, at, answer)) {
            return;
        }
        const StoredRecord& record = stored[static_cast<std::size_t>(at - min)];
        if (wants(fields.subscription(), record.tag)) {
            std::string given = record.bytes;
            if (on_give) {
                on_give(at, given);
            }
            body += given;
            ++count;
        }
        ++at;
    }
    answer.set_nextbeginoffset(at);
    if (count > 0) {
        reply(to, wire::ResponseCode::kSuccess, &answer, body);
    } else if (at > fields.queueoffset()) {
        reply(to, wire::ResponseCode::kPullRetryImmediately, &answer);
    } else if (may_park && !answers_empty_at_once) {
        park(to, fields);
    } else {
        reply(to, wire::ResponseCode::kPullNotFound, &answer);
    }
}

bool FakeBroker::tell_lost(const net::ReplyTo& to,
                           const QueueKey& key,
                           std::int64_t at,
                           wire::PullMessageResponse& answer) {
    for (const auto& [from, behind] : lost[key]) {
        if (at >= from && at < behind) {
            answer.set_lostfrom(at);
            answer.set_lostto(behind);
            answer.set_nextbeginoffset(behind);
            reply(to, wire::ResponseCode::kDataLost, &answer);
            return true;
        }
    }
    return false;
}

void FakeBroker::park(const net::ReplyTo& to, const wire::PullMessageRequest& fields) {
    auto parked = std::make_unique<ParkedPull>();
    parked->to = to;
    parked->fields = fields;
    ParkedPull* const raw = parked.get();
    parked->timer = std::make_unique<net::Timer>(loop_, [this, raw] {
        const auto found = std::find_if(
            parked_.begin(), parked_.end(), [raw](const auto& p) { return p.get() == raw; });
        const std::unique_ptr<ParkedPull> due = std::move(*found);
        parked_.erase(found);
        pull(due->to, due->fields, false);
    });
    parked->timer->start_once(std::chrono::milliseconds{fields.suspendtimeoutmillis()});
    parked_.push_back(std::move(parked));
}

void FakeBroker::wake(const std::string& topic) {
    std::vector<std::unique_ptr<ParkedPull>> woken;
    for (auto& parked : parked_) {
        if (parked->fields.topic() == topic) {
            woken.push_back(std::move(parked));
        }
    }
    std::erase(parked_, nullptr);
    for (const auto& parked : woken) {
        pull(parked->to, parked->fields, true);
    }
}

bool FakeBroker::answer_offsets(const net::Received& frame) {
    const net::ReplyTo to = net::reply_to(frame);
    wire::OffsetResponse answer;
    switch (frame.header.request()) {
        case wire::RequestCode::kGetMinOffset:
        case wire::RequestCode::kGetMaxOffset: {
            const auto fields = fields_in<wire::QueueRequest>(frame);
            const QueueKey key{fields.topic(), fields.queueid()};
            const auto count = static_cast<std::int64_t>(queues[key].size());
            const bool is_min = frame.header.request() == wire::RequestCode::kGetMinOffset;
            answer.set_offset(first_offset[key] + (is_min ? 0 : count));
            reply(to, wire::ResponseCode::kSuccess, &answer);
            return true;
        }
        case wire::RequestCode::kSearchOffsetByTimestamp: {
            const auto fields = fields_in<wire::SearchOffsetRequest>(frame);
            const QueueKey key{fields.topic(), fields.queueid()};
            const auto count = static_cast<std::int64_t>(queues[key].size());
            answer.set_offset(first_offset[key] + (fields.timestamp() > kStoreTime ? count : 0));
            reply(to, wire::ResponseCode::kSuccess, &answer);
            return true;
        }
        case wire::RequestCode::kQueryConsumerOffset: {
            const auto fields = fields_in<wire::QueryConsumerOffsetRequest>(frame);
            const auto& known = committed[fields.consumergroup()];
            const auto found = known.find({fields.topic(), fields.queueid()});
            if (found == known.end()) {
                reply(to, wire::ResponseCode::kQueryNotFound);
            } else {
                answer.set_offset(found->second);
                reply(to, wire::ResponseCode::kSuccess, &answer);
            }
            return true;
        }
        case wire::RequestCode::kCommitOffsets: {
            const auto fields = fields_in<wire::CommitOffsetsRequest>(frame);
            ++commit_requests;
            for (const auto& entry : fields.offsets()) {
                const QueueKey key{entry.topic(), entry.queueid()};
                if (!refuses_commits) {
                    committed[fields.consumergroup()][key] = entry.offset();
                    commit_tokens[key] = entry.granttoken();
                }
            }
            reply(to,
                  refuses_commits ? wire::ResponseCode::kReadOnly : wire::ResponseCode::kSuccess);
            return true;
        }
        default:
            return false;
    }
}

void FakeBroker::notify_members(const std::string& group) {
    wire::ConsumerGroupRequest notice;
    notice.set_consumergroup(group);
    for (const auto& [id, connection_id] : members[group]) {
        net::Connection* connection = server_->find(net::ConnectionId{connection_id});
        if (connection != nullptr) {
            connection->send_oneway(
                wire::Codec::kNative, wire::RequestCode::kNotifyConsumerIdsChanged, &notice);
        }
    }
}

bool FakeBroker::answer_group(const net::Received& frame) {
    const net::ReplyTo to = net::reply_to(frame);
    switch (frame.header.request()) {
        case wire::RequestCode::kHeartBeat: {
            wire::HeartbeatData data;
            static_cast<void>(wire::decode_body(wire::Codec::kNative, frame.body, data));
            ++heartbeats;
            for (const auto& producer : data.producerdataset()) {
                producers.insert(producer.groupname());
                producer_at.insert_or_assign(producer.groupname(), frame.connection.id());
            }
            for (const auto& consumer : data.consumerdataset()) {
                std::uint64_t& connection = members[consumer.groupname()][data.clientid()];
                if (std::exchange(connection, frame.connection.id().value) !=
                    frame.connection.id().value) {
                    notify_members(consumer.groupname());
                }
            }
            reply(to, wire::ResponseCode::kSuccess);
            return true;
        }
        case wire::RequestCode::kUnregisterClient: {
            const auto fields = fields_in<wire::UnregisterClientRequest>(frame);
            producers.erase(fields.producergroup());
            if (members[fields.consumergroup()].erase(fields.clientid()) > 0) {
                notify_members(fields.consumergroup());
            }
            reply(to, wire::ResponseCode::kSuccess);
            return true;
        }
        case wire::RequestCode::kGetConsumerListByGroup: {
            const auto fields = fields_in<wire::ConsumerGroupRequest>(frame);
            wire::ConsumerIdList list;
            for (const auto& [id, connection] : members[fields.consumergroup()]) {
                list.add_consumeridlist(id);
            }
            if (list.consumeridlist().empty()) {
                reply(to, wire::ResponseCode::kSystemError);
            } else {
                reply_body(to, list);
            }
            return true;
        }
        case wire::RequestCode::kConsumerSendMsgBack:
            if (refuses_send_back) {
                reply(to, wire::ResponseCode::kSystemError);
            } else {
                sent_back.push_back(fields_in<wire::ConsumerSendMsgBackRequest>(frame));
                reply(to, wire::ResponseCode::kSuccess);
            }
            return true;
        default:
            return false;
    }
}

void FakeBroker::put_topic(const net::Received& frame) {
    const auto fields = fields_in<wire::CreateTopicRequest>(frame);
    const net::ReplyTo to = net::reply_to(frame);
    const bool exists = topics.count(fields.topic()) != 0;
    if ((fields.createonly() && exists) || (fields.updateonly() && !exists)) {
        reply(to, exists ? wire::ResponseCode::kConflict : wire::ResponseCode::kTopicNotExist);
        return;
    }
    wire::TopicConfig& config = topics[fields.topic()];
    config.set_topicname(fields.topic());
    config.set_readqueuenums(fields.readqueuenums());
    config.set_writequeuenums(fields.writequeuenums());
    config.set_perm(fields.perm());
    reply(to, wire::ResponseCode::kSuccess);
}

void FakeBroker::tell_topic_status(const net::Received& frame) {
    const std::string topic = fields_in<wire::TopicRequest>(frame).topic();
    wire::TopicStatsTable table;
    for (const auto& [key, stored] : queues) {
        if (key.first != topic) {
            continue;
        }
        auto& entry = *table.add_offsettable();
        entry.mutable_key()->set_topic(topic);
        entry.mutable_key()->set_brokername(name_);
        entry.mutable_key()->set_queueid(key.second);
        entry.mutable_value()->set_minoffset(first_offset[key]);
        entry.mutable_value()->set_maxoffset(first_offset[key] +
                                             static_cast<std::int64_t>(stored.size()));
    }
    reply_body(net::reply_to(frame), table);
}

bool FakeBroker::answer_admin(const net::Received& frame) {
    const net::ReplyTo to = net::reply_to(frame);
    switch (frame.header.request()) {
        case wire::RequestCode::kUpdateAndCreateTopic:
            put_topic(frame);
            return true;
        case wire::RequestCode::kDeleteTopicInBroker:
            topics.erase(fields_in<wire::TopicRequest>(frame).topic());
            reply(to, wire::ResponseCode::kSuccess);
            return true;
        case wire::RequestCode::kGetAllTopicConfig: {
            wire::TopicConfigTable table;
            for (const auto& [name, config] : topics) {
                (*table.mutable_topicconfigtable())[name] = config;
            }
            reply_body(to, table);
            return true;
        }
        case wire::RequestCode::kGetTopicStatsInfo:
            tell_topic_status(frame);
            return true;
        case wire::RequestCode::kDescribeBroker: {
            wire::BrokerDescription description;
            description.set_brokername(name_);
            description.set_address(address());
            description.set_state("writable");
            (*description.mutable_counters())["gantry_test_total"] = 7;
            reply_body(to, description);
            return true;
        }
        case wire::RequestCode::kListGroups: {
            wire::GroupList list;
            for (const auto& [group, ids] : members) {
                auto& entry = *list.add_groups();
                entry.set_group(group);
                entry.set_members(static_cast<std::uint32_t>(ids.size()));
                entry.set_lag(3);
            }
            reply_body(to, list);
            return true;
        }
        case wire::RequestCode::kViewMessageById:
        case wire::RequestCode::kQueryMessage:
            view(frame);
            return true;
        default:
            return false;
    }
}

void FakeBroker::view(const net::Received& frame) {
    const bool is_by_id = frame.header.request() == wire::RequestCode::kViewMessageById;
    const std::int64_t offset = fields_in<wire::ViewMessageRequest>(frame).offset();
    const std::string topic = fields_in<wire::QueryMessageRequest>(frame).topic();
    std::string body;
    for (const auto& [key, stored] : queues) {
        for (const StoredRecord& record : stored) {
            const auto at =
                load_be<std::int64_t>(reinterpret_cast<const std::byte*>(record.bytes.data()) +
                                      wire::record_at::kLogOffset);
            // The index is by hash: a query may bring messages with other keys.
            if (is_by_id ? at == offset : key.first == topic) {
                body += record.bytes;
            }
        }
    }
    reply(net::reply_to(frame),
          body.empty() ? wire::ResponseCode::kQueryNotFound : wire::ResponseCode::kSuccess,
          nullptr,
          body);
}

}  // namespace gantry::client::test
