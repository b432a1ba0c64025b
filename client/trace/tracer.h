// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/message.h"
#include "client/trace/trace_record.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/random.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gantry::client {

class LoopSlot;
class Runtime;
class Sender;

/// Writes down what happens to a sample of a producer's or consumer's messages, and sends that to
/// RMQ_SYS_TRACE_TOPIC from time to time. Nobody waits for it: what finds no room, or does not
/// arrive, is dropped and counted.
///
/// Threads   any. Limits: kRecordsMax wait; a trace message has at most kBatchMax of them.
/// Lifetime  close before the Runtime goes; not from a callback.
class Tracer : public std::enable_shared_from_this<Tracer> {
public:
    static constexpr std::size_t kRecordsMax = 2'048;
    static constexpr std::size_t kBatchMax = 100;
    static constexpr std::chrono::milliseconds kPeriod{200};

    /// `sample`: 0 to 1. `role`: PRODUCE or CONSUME.
    Tracer(Runtime& runtime, const std::string& group, const std::string& role, double sample);
    ~Tracer();

    /// Once, before anything else.
    void start();
    /// Sends what waits, for a second at most, and ends. Idempotent.
    void close();

    /// Decides whether a message that is about to be sent is traced; such a one gets a UNIQ_KEY,
    /// unless it has one.
    bool choose(Message& message);
    /// Of a message chosen: its send has ended.
    void sent(const Message& message,
              const Result<SendReceipt>& result,
              std::chrono::nanoseconds took);

    /// Messages that a listener is about to be given; what it returned is to be told by consumed.
    struct Delivery {
        std::vector<MessageView> messages;  ///< the traced ones
        std::string request_id;
        SteadyTime begin;
    };

    /// Before the listener is called.
    Delivery delivering(std::span<const MessageView> messages);
    /// After it.
    void consumed(const Delivery& delivery, bool is_success);

private:
    void add(TraceRecord record);
    void flush();
    void send(std::span<const TraceRecord> records);
    std::string new_id();

    Runtime& runtime_;
    LoopSlot& slot_;
    const std::string group_;
    const double sample_;
    std::shared_ptr<Sender> sender_;
    Counter& written_;
    Counter& dropped_;
    std::unique_ptr<net::Timer> timer_;  // the slot's loop

    Mutex mutex_;
    std::vector<TraceRecord> waiting_ GANTRY_GUARDED_BY(mutex_);
    Random random_ GANTRY_GUARDED_BY(mutex_);
    bool is_closed_ GANTRY_GUARDED_BY(mutex_) = false;
};

}  // namespace gantry::client
