// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/net/event_loop.h"
#include "protocol/net/server.h"
#include "protocol/wire/flow.pb.h"
#include "protocol/wire/group.pb.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/nameserver.pb.h"
#include "protocol/wire/record.h"
#include "protocol/wire/topic.pb.h"
#include "tests/client/fake_numbers.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {

/// What a fake broker does with one send request.
struct SendAction {
    enum class Kind {
        kStore,      ///< and answer
        kStoreMute,  ///< store, never answer
        kStoreCut,   ///< store, then close the connection
        kCut,        ///< close the connection, store nothing
        kHold,       ///< keep the request until release_held
        kRefuse,     ///< answer `code`
    };

    Kind kind = Kind::kStore;
    wire::ResponseCode code = wire::ResponseCode::kSystemError;
    wire::FlowControlResponse told = {};  ///< with a refusal
};

/// One send request as the broker saw it.
struct SeenFrame {
    std::string topic;
    std::int32_t queue = 0;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    bool has_keys = false;
    bool has_tags = false;
    bool is_oneway = false;
    std::optional<wire::SendNumber> number = {};  ///< of an idempotent producer
};

/// One stored message: the record as the client will get it.
struct StoredRecord {
    std::string bytes;
    std::string body;
    std::string tag;
};

/// A broker in this process that stores in memory and does what the test says.
///
/// Threads   the loop's; tests reach it through FakeCluster::run.
class FakeBroker final : public net::ConnectionHandler {
public:
    using QueueKey = std::pair<std::string, std::int32_t>;

    FakeBroker(net::EventLoop& loop, std::string name);
    ~FakeBroker() override;

    std::string address() const;

    const std::string& name() const { return name_; }

    /// Asked for every send request; the default stores.
    std::function<SendAction(const SeenFrame&)> on_send;
    /// Carries out what was held: `action` for each.
    void release_held(SendAction action = {});

    std::size_t held() const { return held_.size(); }

    /// Closes every connection.
    void cut_all();
    /// Appends messages as if a producer had sent them.
    void store(const std::string& topic,
               std::int32_t queue,
               const std::string& body,
               const std::string& tag = {});
    /// Appends a message to a group's retry topic.
    void store_retry(const std::string& retry_topic,
                     const std::string& origin,
                     const std::string& body);
    /// Drops messages below `offset`.
    void truncate_below(const std::string& topic, std::int32_t queue, std::int64_t offset);
    /// Tells all connections of the group.
    void notify_members(const std::string& group);
    /// Sends a one-way request to the connection that told of the producer group last; false when
    /// there is none.
    bool tell_producer(const std::string& group,
                       wire::RequestCode code,
                       const google::protobuf::Message& fields,
                       const std::string& body);

    /// Answers a request, also later; not when its connection has gone.
    void reply(const net::ReplyTo& to,
               wire::ResponseCode code,
               const google::protobuf::Message* fields = nullptr,
               const std::string& body = {});

    /// Sees requests that this class does not know; true: it has dealt with it.
    std::function<bool(const net::Received&)> on_other;
    std::vector<SeenFrame> frames;
    FakeNumbers numbers;
    std::map<QueueKey, std::deque<StoredRecord>> queues;
    std::map<QueueKey, std::int64_t> first_offset;
    std::map<std::string, std::map<QueueKey, std::int64_t>> committed;    ///< by group
    std::map<QueueKey, std::int64_t> commit_tokens;                       ///< of the last commit
    std::map<std::string, std::map<std::string, std::uint64_t>> members;  ///< group, id, connection
    std::set<std::string> producers;
    std::map<std::string, net::ConnectionId> producer_at;  ///< who told of a producer group last
    std::vector<wire::ConsumerSendMsgBackRequest> sent_back;
    std::vector<wire::PullMessageRequest> pulls;
    std::map<std::string, wire::TopicConfig> topics;
    /// Pieces of queues that are lost: from, and the offset behind.
    std::map<QueueKey, std::map<std::int64_t, std::int64_t>> lost;
    /// May change the bytes of a record on its way out; called with its queue offset.
    std::function<void(std::int64_t, std::string&)> on_give;
    std::uint64_t commit_requests = 0;
    std::uint64_t heartbeats = 0;
    bool refuses_send_back = false;
    bool refuses_commits = false;
    std::int64_t suggested = 0;          ///< broker id that pull answers send readers to
    bool is_silent = false;              ///< answers nothing at all
    bool answers_empty_at_once = false;  ///< does not hold pulls

    void on_open(net::Connection& connection) override;
    void on_frame(const net::Received& frame) override;
    void on_close(net::Connection& connection, const Error& why) override;

private:
    struct Held {
        net::ReplyTo to;
        SeenFrame seen;
        std::string body;
    };

    struct ParkedPull {
        net::ReplyTo to;
        wire::PullMessageRequest fields;
        std::unique_ptr<net::Timer> timer;
    };

    void send(const net::Received& frame);
    void carry_out(const Held& held, SendAction action);
    std::optional<wire::SendRecordsResponse> store_once(const Held& held);
    void store_record(wire::Record record, const std::string& body, const std::string& properties);
    wire::SendRecordsResponse append(const std::string& topic, std::int32_t queue, Bytes records);
    void pull(const net::ReplyTo& to, const wire::PullMessageRequest& fields, bool may_park);
    bool tell_lost(const net::ReplyTo& to,
                   const QueueKey& key,
                   std::int64_t at,
                   wire::PullMessageResponse& answer);
    void park(const net::ReplyTo& to, const wire::PullMessageRequest& fields);
    void wake(const std::string& topic);
    bool answer_offsets(const net::Received& frame);
    bool answer_group(const net::Received& frame);
    bool answer_admin(const net::Received& frame);
    void put_topic(const net::Received& frame);
    void tell_topic_status(const net::Received& frame);
    void view(const net::Received& frame);
    void reply_body(const net::ReplyTo& to, const google::protobuf::Message& body);

    net::EventLoop& loop_;
    const std::string name_;
    std::deque<Held> held_;
    std::vector<std::unique_ptr<ParkedPull>> parked_;
    std::set<net::Connection*> connections_;
    std::int64_t log_end_ = 0;
    std::unique_ptr<net::Server> server_;
};

}  // namespace gantry::client::test
