// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "client/producer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/random.h"
#include "protocol/net/channel.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/message.pb.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace gantry::client {

class LoopSlot;
class Runtime;
class Sender;

/// A producer's requests and replies. A request is an ordinary message that says who asked, and by
/// which number to know the reply; the reply goes to the broker that had the request, and that
/// pushes it to the client that asked.
///
///   request --> Sender --> broker --> consumer --> reply: broker --push--> on_push --> done
///          `-- its time is over, or the send failed -------------------------------^
///
/// Threads   request, reply, close: any. The rest: the control loop.
/// Lifetime  what is under way is kept in the control loop; nothing is after close.
class RequestEngine : public std::enable_shared_from_this<RequestEngine> {
public:
    RequestEngine(Runtime& runtime,
                  std::shared_ptr<Sender> sender,
                  const Producer::Options& options);
    ~RequestEngine();

    /// Listens to replies; once, before anything else.
    void start();
    /// As Producer's.
    Status request(Message message, std::chrono::milliseconds timeout, Producer::OnReply done);
    Status reply(const MessageView& request, Message message, Producer::ReplyDone done);
    /// Fails what is under way with kClosed. Idempotent.
    void close();

private:
    struct Asked {
        Producer::OnReply done;
        SteadyTime deadline;
        std::int64_t timeout_ms = 0;
    };

    /// A reply that has not been taken yet.
    struct Reply {
        std::string broker;
        wire::SendMessageRequest fields;
        std::string body;
        Producer::ReplyDone done;
        SteadyTime deadline;
        std::uint32_t attempts = 0;
    };

    using ReplyPtr = std::shared_ptr<Reply>;

    Status enter();
    std::string new_id();
    void ask_in_loop(const std::string& id, Message message);
    void fail_in_loop(const std::string& id, const Error& error);
    void complete_in_loop(const std::string& id, Result<MessageView> result);
    void on_push(const net::Received& received);
    void arm_in_loop();
    void tick_in_loop();
    void send_in_loop(const ReplyPtr& reply);
    void answered_in_loop(const ReplyPtr& reply, Result<net::Received>& result);
    void replied_in_loop(const ReplyPtr& reply, Status result);
    void shut_in_loop();

    Runtime& runtime_;
    LoopSlot& slot_;
    const std::shared_ptr<Sender> sender_;
    const Producer::Options options_;
    std::uint64_t listener_ = 0;
    std::atomic<std::uint32_t> in_flight_{0};
    std::atomic<bool> is_closed_{false};
    Counter& answered_;
    Counter& timed_out_;

    Mutex mutex_;
    Random random_ GANTRY_GUARDED_BY(mutex_);

    // The control loop's.
    std::map<std::string, Asked> asked_;
    std::set<std::pair<SteadyTime, std::string>> deadlines_;
    std::set<ReplyPtr> replies_;
    std::unique_ptr<net::Timer> timer_;
    bool is_shut_ = false;
};

}  // namespace gantry::client
