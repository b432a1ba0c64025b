// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/checker.h"
#include "bench/histogram.h"
#include "bench/options.h"
#include "client/consumer.h"
#include "client/pop_consumer.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gantry::bench {

/// One consumer in a thread of its own, checking all it gets: of a share of the topic's queues, or
/// with options.pop of whatever it gets of all of them.
///
/// Threads   create, start, stop, results: the main thread; results are valid after stop().
class Drain {
public:
    /// What one consumer reads.
    struct Plan {
        std::vector<client::QueueId> queues;
        std::uint64_t run = 0;   ///< 0: count every run's messages
        bool from_start = true;  ///< else from the end as of create()
        bool record_latency = false;
    };

    /// Makes a consumer, assigns the plan's queues and seeks each to its start. Errors: those of
    /// client::PullConsumer for creating, assigning, asking for a queue's ends, and seeking; or of
    /// client::PopConsumer for creating and subscribing.
    static Result<std::unique_ptr<Drain>> create(std::shared_ptr<client::Client> client,
                                                 const Options& options,
                                                 const Plan& plan);
    ~Drain();
    Drain(const Drain&) = delete;
    Drain& operator=(const Drain&) = delete;

    /// Starts the polling thread. Once.
    void start();
    /// Ends the thread within one poll (50 ms), dropping what was not polled yet, and closes the
    /// consumer. Blocks. Idempotent; the destructor does it too.
    void stop();

    /// Messages so far, those seen before and those told as lost included.
    std::uint64_t received() const noexcept {
        return received_.load(std::memory_order_relaxed) + lost_told();
    }

    /// Distinct messages so far.
    std::uint64_t distinct() const noexcept { return distinct_.load(std::memory_order_relaxed); }

    const Checker& checker() const noexcept { return checker_; }

    const Histogram& latency() const noexcept { return latency_; }

    /// Messages that the client told as lost.
    std::uint64_t lost_told() const noexcept { return lost_told_->load(std::memory_order_relaxed); }

    std::uint64_t bytes() const noexcept { return bytes_; }

    std::uint64_t first_ns() const noexcept { return first_ns_; }

    std::uint64_t last_ns() const noexcept { return last_ns_; }

private:
    explicit Drain(const Plan& plan) : plan_(plan), checker_(plan.run) {}

    static Result<std::unique_ptr<Drain>> create_popping(std::shared_ptr<client::Client> client,
                                                         const Options& options,
                                                         const Plan& plan);
    void run();
    template <class Message>
    void take(const std::vector<Message>& messages);

    Plan plan_;
    std::shared_ptr<std::atomic<std::uint64_t>> lost_told_ =
        std::make_shared<std::atomic<std::uint64_t>>(0);
    std::unique_ptr<client::PullConsumer> consumer_;  ///< null: pops_
    std::unique_ptr<client::PopConsumer> pops_;
    Checker checker_;
    Histogram latency_;
    std::uint64_t bytes_ = 0;
    std::uint64_t first_ns_ = 0;
    std::uint64_t last_ns_ = 0;
    std::atomic<std::uint64_t> received_{0};
    std::atomic<std::uint64_t> distinct_{0};
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace gantry::bench
