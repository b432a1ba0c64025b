// SPDX-License-Identifier: Apache-2.0
#include "bench/drain.h"

#include "common/mutex.h"

#include <chrono>

namespace gantry::bench {

Result<std::unique_ptr<Drain>> Drain::create(std::shared_ptr<client::Client> client,
                                             const Options& options,
                                             const Plan& plan) {
    if (options.pop) {
        return create_popping(std::move(client), options, plan);
    }
    client::PullConsumer::Options wanted;
    wanted.group = options.group;
    wanted.start_from.kind = client::StartFrom::Kind::kFirst;
    wanted.check_crc = options.check_crc;
    std::unique_ptr<Drain> drain(new Drain(plan));
    wanted.on_lost = [told = drain->lost_told_](const client::LostMessages& lost) {
        told->fetch_add(static_cast<std::uint64_t>(lost.to - lost.from), std::memory_order_relaxed);
    };
    GANTRY_ASSIGN_OR_RETURN(drain->consumer_,
                            client::PullConsumer::create(std::move(client), wanted));
    GANTRY_TRY(drain->consumer_->assign(plan.queues));
    for (const client::QueueId& queue : plan.queues) {
        std::int64_t from = 0;
        if (plan.from_start) {
            GANTRY_ASSIGN_OR_RETURN(from, drain->consumer_->min_offset(queue));
        } else {
            GANTRY_ASSIGN_OR_RETURN(from, drain->consumer_->max_offset(queue));
        }
        GANTRY_TRY(drain->consumer_->seek(queue, from));
    }
    return drain;
}

Result<std::unique_ptr<Drain>> Drain::create_popping(std::shared_ptr<client::Client> client,
                                                     const Options& options,
                                                     const Plan& plan) {
    client::PopConsumer::Options wanted;
    wanted.group = options.group;
    wanted.start_from = client::StartFrom::Kind::kFirst;
    wanted.pop_messages_max = options.pop_messages;
    wanted.buffer_messages_max = options.pop_messages;
    wanted.check_crc = options.check_crc;
    std::unique_ptr<Drain> drain(new Drain(plan));
    GANTRY_ASSIGN_OR_RETURN(drain->pops_, client::PopConsumer::create(std::move(client), wanted));
    GANTRY_TRY(drain->pops_->subscribe(options.topic));
    return drain;
}

Drain::~Drain() {
    stop();
}

void Drain::start() {
    thread_ = std::thread([this] { run(); });
}

void Drain::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) {
        thread_.join();
    }
    if (consumer_) {
        consumer_->close();
    }
    if (pops_) {
        static_cast<void>(pops_->close(std::chrono::seconds(3)));
    }
}

template <class Message>
void Drain::take(const std::vector<Message>& messages) {
    if (messages.empty()) {
        return;
    }
    const std::uint64_t now = monotonic_ns();
    if (first_ns_ == 0) {
        first_ns_ = now;
    }
    for (const client::MessageView& message : messages) {
        const auto stamp = read_stamp(message.body());
        if (!stamp ||
            !checker_.take(message.broker(), message.queue(), message.queue_offset(), *stamp)) {
            continue;
        }
        bytes_ += message.body().size();
        if (plan_.record_latency) {
            latency_.record(now - stamp->sent_ns);
        }
    }
    last_ns_ = monotonic_ns();
    received_.store(checker_.received(), std::memory_order_relaxed);
    distinct_.store(checker_.distinct(), std::memory_order_relaxed);
}

void Drain::run() {
    constexpr std::chrono::milliseconds kWait{50};
    set_thread_name("drain");
    while (!stopping_.load(std::memory_order_relaxed)) {
        if (consumer_) {
            take(consumer_->poll(kWait));
        } else {
            const auto messages = pops_->poll(kWait, 65'536);
            take(messages);
            pops_->ack(messages);
        }
    }
}

}  // namespace gantry::bench
