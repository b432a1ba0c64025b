// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/clients.h"

#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "common/bytes.h"
#include "common/checksum.h"
#include "protocol/wire/message_id.h"
#include "tests/chaos/history/history.h"
#include "tests/harness/wait.h"

#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <span>
#include <thread>
#include <utility>

namespace gantry::chaos {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSendLimit{20'000};
constexpr milliseconds kDrainLimit{60'000};
constexpr std::uint32_t kInFlightMax = 256;

std::uint32_t sum_of(std::string_view body) {
    return static_cast<std::uint32_t>(xxh3(as_bytes(body)));
}

Outcome outcome_of(Errc code) {
    return code == Errc::kTimeout || code == Errc::kUnknown || code == Errc::kClosed
               ? Outcome::kUnknown
               : Outcome::kFail;
}

Result<std::shared_ptr<client::Client>> connect(const ClientOptions& options) {
    client::Client::Options wanted;
    wanted.nameservers = options.nameservers;
    return client::Client::start(wanted);
}

/// Producer and number of a message, out of its body: "name-counter filling".
void read_key(std::string_view body, HistoryFile& file, Operation& it) {
    const std::string_view key = body.substr(0, body.find(' '));
    const std::size_t dash = std::min(key.rfind('-'), key.size());
    it.producer = file.number(key.substr(0, dash));
    const std::string_view number = key.substr(std::min(dash + 1, key.size()));
    std::from_chars(number.data(), number.data() + number.size(), it.counter);
    it.sum = sum_of(body);
}

Operation operation_of(const client::MessageView& message, HistoryFile& file, Op op) {
    Operation it;
    it.op = op;
    it.invoked = it.returned = now_us();
    it.topic = file.number(message.topic());
    it.queue = message.queue();
    it.offset = message.queue_offset();
    read_key(message.body(), file, it);
    return it;
}

/// Sends at a steady rate and writes down what becomes of each message.
class Sending {
public:
    Sending(const ClientOptions& options, HistoryFile& file, client::Producer& producer)
        : options_(options),
          file_(file),
          producer_(producer),
          process_(file.number(options.name)),
          topic_(file.number(options.topic)) {}

    /// Whether the message is on its way.
    bool send(std::uint64_t counter, const client::QueueId& queue) {
        Operation it;
        it.invoked = now_us();
        it.process = it.producer = process_;
        it.topic = topic_;
        it.queue = queue.queue;
        it.counter = counter;
        client::Message message;
        message.topic = options_.topic;
        message.body = options_.name + '-' + std::to_string(counter) + ' ';
        message.body.resize(std::max(message.body.size(), options_.body_bytes), 'x');
        it.sum = sum_of(message.body);
        ++in_flight_;
        const Status begun = producer_.send_async_to(
            std::move(message), queue, [this, it](Result<client::SendReceipt> sent) mutable {
                done(it, sent);
                --in_flight_;
            });
        if (!begun) {
            --in_flight_;
        }
        return begun.has_value();
    }

    std::uint32_t in_flight() const noexcept { return in_flight_; }

private:
    void done(Operation& it, const Result<client::SendReceipt>& sent) {
        it.returned = now_us();
        if (sent) {
            it.offset = sent->queue_offset;
            if (const auto place = wire::parse_message_id(sent->message_id)) {
                it.member = file_.number(wire::to_string(place->store_host));
                it.log_offset = place->log_offset.value;
            }
        } else {
            it.outcome = outcome_of(sent.error().code);
        }
        file_.add(it);
    }

    const ClientOptions& options_;
    HistoryFile& file_;
    client::Producer& producer_;
    const std::uint32_t process_;
    const std::uint32_t topic_;
    std::atomic<std::uint32_t> in_flight_{0};
};

/// Blocks until then or until `stops`.
void wait_for(const std::atomic<bool>& stops, milliseconds time) {
    harness::wait_until(time, [&stops] { return stops.load(); });
}

/// Positions of the pull consumer, committed and told.
void commit_all(client::PullConsumer& consumer,
                const ClientOptions& options,
                std::map<client::QueueId, std::int64_t>& committed,
                HistoryFile& file) {
    for (auto& [queue, before] : committed) {
        const std::int64_t position = consumer.position(queue);
        if (position <= before) {
            continue;
        }
        Operation it;
        it.op = Op::kCommit;
        it.process = file.number(options.name);
        it.topic = file.number(queue.topic);
        it.queue = queue.queue;
        it.producer = file.number(options.name.substr(0, options.name.find('.')));
        it.offset = position;
        it.invoked = now_us();
        const Status done = consumer.commit(queue, position);
        it.returned = now_us();
        it.outcome = done ? Outcome::kOk : outcome_of(done.error().code);
        before = done ? position : before;
        file.add(it);
    }
}

Result<std::unique_ptr<client::PullConsumer>> reader_of_all(const ClientOptions& options,
                                                            const std::string& group) {
    GANTRY_ASSIGN_OR_RETURN(const auto client, connect(options));
    client::PullConsumer::Options wanted;
    wanted.group = group;
    wanted.start_from.kind = client::StartFrom::Kind::kFirst;
    wanted.poll_hold = milliseconds(1'000);
    GANTRY_ASSIGN_OR_RETURN(auto consumer, client::PullConsumer::create(client, wanted));
    Status assigned = ok();
    harness::wait_until(kDrainLimit, [&] {
        const auto queues = consumer->queues(options.topic);
        assigned = queues ? consumer->assign(*queues) : Status(queues.error());
        return assigned.has_value();
    });
    if (!assigned) {
        return assigned.error();
    }
    return Result<std::unique_ptr<client::PullConsumer>>(std::move(consumer));
}

void tell_committed(client::PullConsumer& consumer,
                    const ClientOptions& options,
                    const std::string& group,
                    HistoryFile& file) {
    for (const client::QueueId& queue : consumer.assignment()) {
        Operation it;
        it.op = Op::kCommitted;
        it.process = file.number(options.name);
        it.topic = file.number(queue.topic);
        it.queue = queue.queue;
        it.producer = file.number(group);
        it.invoked = now_us();
        const auto found = consumer.committed(queue);
        it.returned = now_us();
        it.outcome = found ? Outcome::kOk : Outcome::kUnknown;
        it.offset = found && *found ? **found : 0;
        file.add(it);
    }
}

}  // namespace

Status produce(const ClientOptions& options, const std::atomic<bool>& stops) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, HistoryFile::create(options.history));
    GANTRY_ASSIGN_OR_RETURN(const auto client, connect(options));
    client::Producer::Options wanted;
    wanted.group = options.name;
    wanted.deadline = kSendLimit;
    wanted.idempotent = true;
    GANTRY_ASSIGN_OR_RETURN(const auto producer, client::Producer::create(client, wanted));
    Sending sending(options, *file, *producer);
    const auto period = std::chrono::microseconds(1'000'000 / options.per_second);
    auto next = std::chrono::steady_clock::now();
    std::vector<client::QueueId> queues;
    for (std::uint64_t counter = 0; !stops;) {
        if (queues.empty()) {
            queues = producer->queues(options.topic).value_or({});
        }
        next = std::max(next + period, std::chrono::steady_clock::now());
        harness::wait_until(milliseconds(60'000), [&] {
            return stops ||
                   (std::chrono::steady_clock::now() >= next && sending.in_flight() < kInFlightMax);
        });
        if (!queues.empty() && !stops && sending.send(counter, queues[counter % queues.size()])) {
            ++counter;
        }
    }
    GANTRY_TRY(producer->close(kSendLimit + milliseconds(5'000)));
    return ok();
}

Status consume_push(const ClientOptions& options, const std::atomic<bool>& stops) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, HistoryFile::create(options.history));
    GANTRY_ASSIGN_OR_RETURN(const auto client, connect(options));
    client::PushConsumer::Options wanted;
    wanted.group = options.name.substr(0, options.name.find('.'));
    wanted.start_from.kind = client::StartFrom::Kind::kFirst;
    wanted.batch_messages_max = 32;
    wanted.poll_hold = milliseconds(2'000);
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, client::PushConsumer::create(client, wanted));
    GANTRY_TRY(consumer->subscribe(options.topic));
    GANTRY_TRY(consumer->start([&](std::span<const client::MessageView> messages) {
        for (const client::MessageView& message : messages) {
            Operation it = operation_of(message, *file, Op::kReceive);
            it.process = file->number(options.name);
            file->add(it);
        }
        return client::ConsumeResult::kSuccess;
    }));
    while (!stops) {
        wait_for(stops, milliseconds(1'000));
        file->flush();
    }
    consumer->stop();
    return ok();
}

Status consume_pull(const ClientOptions& options, const std::atomic<bool>& stops) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, HistoryFile::create(options.history));
    GANTRY_ASSIGN_OR_RETURN(const auto consumer,
                            reader_of_all(options, options.name.substr(0, options.name.find('.'))));
    std::map<client::QueueId, std::int64_t> committed;
    for (const client::QueueId& queue : consumer->assignment()) {
        committed[queue] = 0;
    }
    auto next_commit = std::chrono::steady_clock::now();
    while (!stops) {
        for (const client::MessageView& message : consumer->poll(milliseconds(200))) {
            Operation it = operation_of(message, *file, Op::kReceive);
            it.process = file->number(options.name);
            file->add(it);
        }
        if (std::chrono::steady_clock::now() >= next_commit) {
            commit_all(*consumer, options, committed, *file);
            file->flush();
            next_commit = std::chrono::steady_clock::now() + milliseconds(500);
        }
    }
    commit_all(*consumer, options, committed, *file);
    return ok();
}

Status drain(const ClientOptions& options, const std::vector<std::string>& groups) {
    GANTRY_ASSIGN_OR_RETURN(const auto file, HistoryFile::create(options.history));
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, reader_of_all(options, ""));
    std::map<client::QueueId, std::int64_t> ends;
    for (const client::QueueId& queue : consumer->assignment()) {
        GANTRY_ASSIGN_OR_RETURN(ends[queue], consumer->max_offset(queue));
    }
    const bool is_whole = harness::wait_until(kDrainLimit, [&] {
        bool is_there = true;
        for (const client::MessageView& message : consumer->poll(milliseconds(100))) {
            Operation it = operation_of(message, *file, Op::kRead);
            it.process = file->number(options.name);
            file->add(it);
        }
        for (const auto& [queue, end] : ends) {
            is_there = is_there && consumer->position(queue) >= end;
        }
        return is_there;
    });
    for (const std::string& group : groups) {
        GANTRY_ASSIGN_OR_RETURN(const auto member, reader_of_all(options, group));
        tell_committed(*member, options, group, *file);
    }
    return is_whole ? ok() : Status(Error{Errc::kTimeout, "a queue was not read to its end"});
}

Status make_topic(const ClientOptions& options, std::int32_t queues) {
    GANTRY_ASSIGN_OR_RETURN(const auto client, connect(options));
    GANTRY_ASSIGN_OR_RETURN(const auto admin, client::AdminClient::create(client, {}));
    client::TopicSpec spec;
    spec.topic = options.topic;
    spec.read_queues = spec.write_queues = queues;
    Status made = ok();
    harness::wait_until(milliseconds(30'000), [&] {
        made = admin->create_topic(spec);
        return made.has_value() || made.error().code == Errc::kConflict;
    });
    return made;
}

}  // namespace gantry::chaos
