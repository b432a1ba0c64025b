// SPDX-License-Identifier: Apache-2.0
#include "bench/load.h"

#include <algorithm>
#include <chrono>

namespace gantry::bench {

namespace {

Result<std::unique_ptr<client::TransactionProducer>> transactions(
    std::shared_ptr<client::Client> client, const Options& options) {
    constexpr std::uint32_t kThreadsMax = 256;
    client::TransactionProducer::Options wanted;
    wanted.group = "gantry-bench";
    wanted.deadline = std::chrono::milliseconds(options.send_timeout_ms);
    wanted.threads = std::min(options.in_flight, kThreadsMax);
    // The next one is sent from the completion of an earlier one, which then still counts.
    wanted.in_flight_max = options.in_flight + wanted.threads;
    wanted.message_bytes_max = std::max(wanted.message_bytes_max, options.size_bytes);
    return client::TransactionProducer::create(
        std::move(client), wanted, [](const client::MessageView&) {
            return client::TransactionOutcome::kCommit;
        });
}

Result<client::SendReceipt> receipt_of(const Result<client::TransactionReceipt>& ended) {
    if (!ended) {
        return ended.error();
    }
    if (!ended->is_confirmed) {
        return Error{Errc::kUnknown, "the commit was not confirmed"};
    }
    return client::SendReceipt{};
}

}  // namespace

Load::Load(const Options& options, const Plan& plan) : plan_(plan), body_(options.size_bytes, 'g') {
    turn_messages_ =
        options.batch_bytes == 0
            ? 1
            : std::max<std::uint64_t>(1, options.batch_bytes / (options.size_bytes + 128));
    in_flight_max_ = options.in_flight * turn_messages_;
    for (std::uint32_t i = 0; i < options.topics; ++i) {
        // Producers begin at different topics.
        const std::uint32_t first = options.topics / options.producers * plan.producer;
        topics_.push_back(topic_name(options, (first + i) % options.topics));
    }
}

Result<std::unique_ptr<Load>> Load::create(std::shared_ptr<client::Client> client,
                                           const Options& options,
                                           const Plan& plan) {
    client::Producer::Options wanted;
    wanted.group = "gantry-bench";
    wanted.deadline = std::chrono::milliseconds(options.send_timeout_ms);
    wanted.retry_unknown = options.retry_unknown;
    wanted.idempotent = options.idempotent;
    wanted.retries_max = 1'000;
    wanted.batch_bytes_max = options.batch_bytes;
    wanted.max_batches_in_flight = options.in_flight;
    wanted.message_bytes_max = std::max(wanted.message_bytes_max, options.size_bytes);
    wanted.own_connection = true;
    std::unique_ptr<Load> load(new Load(options, plan));
    wanted.in_flight_max = static_cast<std::uint32_t>(load->in_flight_max_ + 1);
    if (options.transactions) {
        GANTRY_ASSIGN_OR_RETURN(load->transactions_, transactions(std::move(client), options));
        return load;
    }
    GANTRY_ASSIGN_OR_RETURN(load->producer_, client::Producer::create(std::move(client), wanted));
    return load;
}

void Load::start() {
    start_ns_ = first_ns_ = monotonic_ns();
    pump();
}

void Load::pump() {
    const MutexLock lock(mutex_);
    pump_locked();
}

const std::string& Load::topic_of(std::uint64_t sequence) const noexcept {
    return topics_[sequence / turn_messages_ % topics_.size()];
}

bool Load::may_send_locked(std::uint64_t now) const {
    if (next_ >= plan_.messages || next_ - completed_ >= in_flight_max_) {
        return false;
    }
    return plan_.rate <= 0 ||
           static_cast<double>(next_) <= static_cast<double>(now - start_ns_) * plan_.rate / 1e9;
}

void Load::pump_locked() {
    const std::uint64_t now = monotonic_ns();
    while (may_send_locked(now)) {
        Stamp stamp;
        stamp.producer = plan_.producer;
        stamp.run = plan_.run;
        stamp.sequence = next_;
        // With a rate, the time it was due: waiting in this program counts as latency too.
        stamp.sent_ns = plan_.rate > 0
                            ? start_ns_ + static_cast<std::uint64_t>(static_cast<double>(next_) *
                                                                     1e9 / plan_.rate)
                            : now;
        write_stamp(body_, stamp);
        client::Message message;
        message.topic = topic_of(next_);
        message.body = body_;
        const Status sent = send(std::move(message), stamp);
        if (!sent) {
            refused_locked(sent.error());
            return;
        }
        ++next_;
    }
}

Status Load::send(client::Message message, const Stamp& stamp) {
    if (transactions_) {
        return transactions_->send_async(
            std::move(message),
            [](const client::Transaction&) { return client::TransactionOutcome::kCommit; },
            [this, stamp](const Result<client::TransactionReceipt>& ended) {
                on_done(stamp, receipt_of(ended));
            });
    }
    return producer_->send_async(
        std::move(message),
        [this, stamp](const Result<client::SendReceipt>& result) { on_done(stamp, result); });
}

void Load::refused_locked(const Error& why) {
    if (next_ != completed_) {
        return;  // the next completion tries again
    }
    // Nothing is in flight that could wake this load up: it ends here, short of its plan.
    if (first_error_.empty()) {
        first_error_ = to_string(why);
    }
    failed_ += plan_.messages - next_;
    plan_.messages = next_;
    all_done_.notify_all();
}

void Load::on_done(const Stamp& stamp, const Result<client::SendReceipt>& result) {
    const MutexLock lock(mutex_);
    ++completed_;
    last_ns_ = monotonic_ns();
    if (completed_ == plan_.warmup) {
        first_ns_ = last_ns_;
    }
    if (result) {
        if (completed_ > plan_.warmup) {
            latency_.record(last_ns_ - stamp.sent_ns);
        }
        acked_.insert(stamp.sequence);
        checksum_ += fingerprint(stamp);
    } else {
        const Errc code = result.error().code;
        ++(code == Errc::kTimeout || code == Errc::kUnknown ? unknown_ : failed_);
        if (first_error_.empty()) {
            first_error_ = to_string(result.error());
        }
    }
    pump_locked();
    if (completed_ >= plan_.messages) {
        all_done_.notify_all();
    }
}

bool Load::finished() const {
    const MutexLock lock(mutex_);
    return completed_ >= plan_.messages;
}

void Load::wait() {
    MutexLock lock(mutex_);
    while (completed_ < plan_.messages) {
        lock.wait(all_done_);
    }
}

}  // namespace gantry::bench
