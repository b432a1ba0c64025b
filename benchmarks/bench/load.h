// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/checker.h"
#include "bench/histogram.h"
#include "bench/options.h"
#include "client/producer.h"
#include "client/transaction_producer.h"
#include "common/mutex.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gantry::bench {

/// One producer under load: keeps `in_flight` messages unanswered, sending the next from the
/// completion of an earlier one, so that no thread hand-off is measured.
///
/// Threads   start, pump, wait, results: the main thread; completions: the client's loop. Results
///           are valid after wait().
class Load {
public:
    /// What one producer sends.
    struct Plan {
        std::uint32_t producer = 0;
        std::uint64_t run = 0;
        std::uint64_t messages = 0;
        std::uint64_t warmup = 0;  ///< of these: before the time counts
        double rate = 0;           ///< messages per second of this producer; 0: unlimited
    };

    /// Makes a producer with a connection of its own. Errors: those of client::Producer::create.
    /// `options` outlives the load.
    static Result<std::unique_ptr<Load>> create(std::shared_ptr<client::Client> client,
                                                const Options& options,
                                                const Plan& plan);

    /// Takes the start time and sends the first messages. Once.
    void start();
    /// Sends what the rate allows now; only needed with a rate.
    void pump();
    /// True when every message of the plan is answered, failed ones included. A load that is
    /// refused while nothing is in flight finishes short of its plan; the rest counts as failed.
    bool finished() const;
    /// Blocks until finished(). With a rate, pump until finished() first: nothing else sends on.
    void wait();

    std::uint32_t producer() const noexcept { return plan_.producer; }

    const Histogram& latency() const noexcept { return latency_; }

    const SequenceSet& acked() const noexcept { return acked_; }

    std::uint64_t failed() const noexcept { return failed_; }

    std::uint64_t unknown() const noexcept { return unknown_; }

    std::uint64_t checksum() const noexcept { return checksum_; }

    /// When the warm-up was answered, or the load started without one.
    std::uint64_t first_ns() const noexcept { return first_ns_; }

    std::uint64_t last_ns() const noexcept { return last_ns_; }

    const std::string& first_error() const noexcept { return first_error_; }

private:
    Load(const Options& options, const Plan& plan);

    const std::string& topic_of(std::uint64_t sequence) const noexcept;
    bool may_send_locked(std::uint64_t now) const GANTRY_REQUIRES(mutex_);
    void pump_locked() GANTRY_REQUIRES(mutex_);
    Status send(client::Message message, const Stamp& stamp);
    void refused_locked(const Error& why) GANTRY_REQUIRES(mutex_);
    void on_done(const Stamp& stamp, const Result<client::SendReceipt>& result);

    Plan plan_;
    std::uint64_t turn_messages_;  ///< a full frame: so many to one topic before the next one
    std::uint64_t in_flight_max_;
    std::vector<std::string> topics_;
    std::unique_ptr<client::Producer> producer_;  ///< or the next one
    std::unique_ptr<client::TransactionProducer> transactions_;
    std::string body_;
    mutable Mutex mutex_;
    std::condition_variable all_done_;
    std::uint64_t next_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t completed_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t start_ns_ = 0;
    std::uint64_t first_ns_ = 0;
    std::uint64_t last_ns_ = 0;
    Histogram latency_;
    SequenceSet acked_;
    std::uint64_t failed_ = 0;
    std::uint64_t unknown_ = 0;
    std::uint64_t checksum_ = 0;
    std::string first_error_;
};

}  // namespace gantry::bench
