// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/transaction_producer.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/random.h"
#include "protocol/net/channel.h"
#include "protocol/wire/message.pb.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gantry::client {

class Runtime;

/// A TransactionProducer's engine: blocking requests from the caller's thread or one of its own
/// threads, which run sends in the background and answer brokers' questions, first come first
/// served.
///
/// Threads   as TransactionProducer; questions come in in the control loop.
/// Lifetime  the control loop holds it weakly.
class TransactionEngine : public std::enable_shared_from_this<TransactionEngine> {
public:
    using Options = TransactionProducer::Options;

    TransactionEngine(Runtime& runtime,
                      LoopSlot& slot,
                      const Options& options,
                      TransactionProducer::Check check);
    ~TransactionEngine();
    TransactionEngine(const TransactionEngine&) = delete;
    TransactionEngine& operator=(const TransactionEngine&) = delete;

    /// Joins the heartbeats and starts the threads; once, before anything else.
    void start();
    /// As TransactionProducer's.
    Result<TransactionReceipt> send(Message message, TransactionProducer::Local& local);
    Status send_async(Message message,
                      TransactionProducer::Local local,
                      TransactionProducer::Done done);
    Result<Transaction> begin(Message message);
    Status end(const Transaction& transaction, TransactionOutcome outcome);
    Status close(std::chrono::milliseconds drain_limit);
    /// Waits for the threads; after close.
    void join();

private:
    /// Runs, or with false says that it never will.
    using Job = UniqueFunction<void(bool)>;

    class Active;
    class Running;
    struct Question;

    Status enter();
    Status enter_locked() GANTRY_REQUIRES(mutex_);
    void leave();
    void work();
    Result<TransactionReceipt> run(Message message, TransactionProducer::Local& local);
    std::string new_id();
    Result<Transaction> store_half(Message& message, const std::string& id);
    Result<QueueId> choose_queue(const TopicRoute& route, const std::string& avoided);
    Result<Transaction> try_half(const wire::SendMessageRequest& fields,
                                 const Message& message,
                                 const BrokerRoute& broker,
                                 SteadyTime deadline,
                                 std::chrono::milliseconds& limited);
    /// Whether the broker may or may not know the outcome by now, or later.
    static bool may_repeat(Errc code) noexcept;
    Status tell(const Transaction& transaction, TransactionOutcome outcome, bool is_answer);
    void on_question(const net::Received& received, const std::string& address);
    void answer(const Question& question);
    bool is_running(const std::string& id);

    Runtime& runtime_;
    LoopSlot& slot_;
    const Options options_;
    const TransactionProducer::Check check_;
    std::uint64_t listener_ = 0;
    std::vector<std::thread> threads_;
    std::atomic<std::uint32_t> next_queue_{0};
    Counter& committed_;
    Counter& rolled_back_;
    Counter& unconfirmed_;
    Counter& asked_;
    Counter& questions_dropped_;

    Mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> jobs_ GANTRY_GUARDED_BY(mutex_);
    std::set<std::string, std::less<>> running_ GANTRY_GUARDED_BY(mutex_);  ///< `local` runs
    Random random_ GANTRY_GUARDED_BY(mutex_);
    std::uint32_t active_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint32_t questions_ GANTRY_GUARDED_BY(mutex_) = 0;
    bool is_closed_ GANTRY_GUARDED_BY(mutex_) = false;  ///< takes nothing more
    bool is_ended_ GANTRY_GUARDED_BY(mutex_) = false;   ///< the threads end
};

}  // namespace gantry::client
