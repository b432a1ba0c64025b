// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/batch.h"
#include "tests/client/fake_cluster.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace gantry::client::test {

/// A send as a RocketMQ broker sees it.
struct StockSend {
    wire::RequestCode code{};
    wire::SendMessageRequest fields;
    std::string body;
    wire::Codec codec{};
};

/// Lets the fake broker of a cluster take RocketMQ's sends, and does what the test says.
///
/// Threads   the test's; the state through FakeCluster::run.
class StockBroker {
public:
    /// What the next send is answered.
    struct Reply {
        wire::ResponseCode code = wire::ResponseCode::kSuccess;
        std::string remark = {};
    };

    explicit StockBroker(FakeCluster& cluster) : cluster_(cluster) {
        cluster_.run([this] {
            cluster_.broker().on_other = [this](const net::Received& frame) { return take(frame); };
        });
    }

    /// Then everything is stored again.
    void reply_once(std::vector<Reply> replies) {
        cluster_.run([&] { replies_.assign(replies.begin(), replies.end()); });
    }

    /// Keeps what comes until release().
    void hold() {
        cluster_.run([this] { is_holding_ = true; });
    }

    void release() {
        cluster_.run([this] {
            is_holding_ = false;
            for (const auto& [to, count] : std::exchange(held_, {})) {
                store(to, count);
            }
        });
    }

    std::vector<StockSend> seen() {
        return cluster_.run([this] { return seen_; });
    }

private:
    bool take(const net::Received& frame) {
        if (frame.header.request() != wire::RequestCode::kSendMessageV2 &&
            frame.header.request() != wire::RequestCode::kSendBatchMessage) {
            return false;
        }
        StockSend& send = seen_.emplace_back();
        send.code = frame.header.request();
        send.codec = frame.header.codec;
        send.body = as_text(frame.body);
        static_cast<void>(wire::decode_fields(frame.header, send.fields));
        const auto batch = wire::parse_batch(frame.body, 10'000);
        const std::size_t count = send.fields.batch() && batch ? batch->size() : 1;
        Reply reply;
        if (!replies_.empty()) {
            reply = replies_.front();
            replies_.pop_front();
        }
        const bool is_stored = reply.code == wire::ResponseCode::kSuccess ||
                               reply.code == wire::ResponseCode::kFlushDiskTimeout ||
                               reply.code == wire::ResponseCode::kSlaveNotAvailable ||
                               reply.code == wire::ResponseCode::kFlushSlaveTimeout;
        if (!is_stored) {
            frame.connection.reply(net::reply_to(frame), reply.code, reply.remark);
        } else if (is_holding_) {
            held_.emplace_back(net::reply_to(frame), count);
        } else {
            store(net::reply_to(frame), count, reply.code);
        }
        return true;
    }

    void store(const net::ReplyTo& to,
               std::size_t count,
               wire::ResponseCode code = wire::ResponseCode::kSuccess) {
        wire::SendMessageResponse answer;
        answer.set_queueid(0);
        answer.set_queueoffset(next_offset_);
        std::string ids;
        for (std::size_t i = 0; i < count; ++i) {
            ids += (ids.empty() ? "id-" : ",id-") + std::to_string(next_offset_++);
        }
        answer.set_msgid(ids);
        cluster_.broker().reply(to, code, &answer);
    }

    FakeCluster& cluster_;
    std::vector<StockSend> seen_;
    std::deque<Reply> replies_;
    std::vector<std::pair<net::ReplyTo, std::size_t>> held_;
    std::int64_t next_offset_ = 0;
    bool is_holding_ = false;
};

/// A client of the cluster in RocketMQ's dialect.
inline std::shared_ptr<Client> connect_stock(FakeCluster& cluster) {
    Client::Options options;
    options.dialect = Dialect::kRocketMq;
    return cluster.connect(options);
}

}  // namespace gantry::client::test
