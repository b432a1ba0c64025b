// SPDX-License-Identifier: Apache-2.0
#include "client/producer.h"

#include "client/core/awaited.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/produce/sender.h"
#include "client/request/request_engine.h"
#include "client/trace/tracer.h"
#include "common/checksum.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::chrono::microseconds kSpinMax{20};
constexpr std::chrono::minutes kIdempotentDeadlineMax{5};  // brokers remember at least twice that
constexpr std::uint32_t kMessageBytesLimit = 15U << 20U;   // a frame takes 16 MiB

Error out_of_range(std::string_view name, std::int64_t value, std::string_view rule) {
    return Error{Errc::kRefused,
                 std::string(name) + ' ' + std::to_string(value) + " is not " + std::string(rule)};
}

Status check_options(const Producer::Options& options) {
    GANTRY_TRY(wire::check_group_name(options.group));
    if (options.deadline.count() <= 0) {
        return out_of_range("deadline", options.deadline.count(), "above 0 ms");
    }
    if (options.in_flight_max == 0) {
        return out_of_range("in_flight_max", 0, "above 0");
    }
    if (options.max_batches_in_flight == 0) {
        return out_of_range("max_batches_in_flight", 0, "above 0");
    }
    if (options.batch_bytes_max > kMessageBytesLimit) {
        return out_of_range("batch_bytes_max", options.batch_bytes_max, "at most 15 MiB");
    }
    if (options.message_bytes_max > kMessageBytesLimit) {
        return out_of_range("message_bytes_max", options.message_bytes_max, "at most 15 MiB");
    }
    if (!(options.trace_sample >= 0 && options.trace_sample <= 1)) {
        return Error{Errc::kRefused, "trace_sample is not within 0 to 1"};
    }
    if (options.idempotent && options.deadline > kIdempotentDeadlineMax) {
        return out_of_range(
            "deadline", options.deadline.count(), "at most 300000 ms, for an idempotent producer");
    }
    return ok();
}

}  // namespace

struct Producer::State {
    std::shared_ptr<Client> client;
    std::shared_ptr<Sender> sender;
    std::shared_ptr<RequestEngine> requests;
    std::shared_ptr<Tracer> tracer;  ///< null: nothing is traced
};

Producer::Producer(std::shared_ptr<State> state) : state_(std::move(state)) {}

Producer::~Producer() {
    static_cast<void>(close(std::chrono::milliseconds{0}));
}

Result<std::unique_ptr<Producer>> Producer::create(std::shared_ptr<Client> client,
                                                   const Options& options) {
    GANTRY_TRY(check_options(options));
    GANTRY_TRY(check_compression(options.compression));
    Runtime& runtime = client->runtime();
    if (options.idempotent) {
        GANTRY_TRY(runtime.need_gantry("idempotent"));
    }
    auto state = std::make_shared<State>();
    state->client = std::move(client);
    state->sender = std::make_shared<Sender>(runtime, runtime.next_slot(), options);
    if (options.trace_sample > 0) {
        state->tracer =
            std::make_shared<Tracer>(runtime, options.group, "PRODUCE", options.trace_sample);
        state->tracer->start();
        state->sender->trace_by(state->tracer);
    }
    state->sender->start();
    state->requests = std::make_shared<RequestEngine>(runtime, state->sender, options);
    state->requests->start();
    return std::unique_ptr<Producer>(new Producer(std::move(state)));
}

Result<SendReceipt> Producer::send(Message message) {
    return send_and_wait(std::move(message), nullptr);
}

Result<SendReceipt> Producer::send_to(Message message, const QueueId& queue) {
    return send_and_wait(std::move(message), &queue);
}

Result<SendReceipt> Producer::send_and_wait(Message message, const QueueId* queue) {
    auto awaited = std::make_shared<Awaited<Result<SendReceipt>>>();
    SendTarget target;
    if (queue != nullptr) {
        target.kind = SendKind::kQueue;
        target.queue = queue;
    }
    GANTRY_TRY(
        state_->sender->accept(std::move(message), target, [awaited](Result<SendReceipt> result) {
            awaited->set(std::move(result));
        }));
    return awaited->wait(std::min(kSpinMax, state_->client->runtime().spin()));
}

Status Producer::send_async(Message message, Done done) {
    return state_->sender->accept(std::move(message), SendTarget{}, std::move(done));
}

Status Producer::send_async(Message message, std::string_view order_key, Done done) {
    SendTarget target;
    target.kind = SendKind::kKeyed;
    target.key_hash = xxh3(as_bytes(order_key));
    return state_->sender->accept(std::move(message), target, std::move(done));
}

Status Producer::send_async_to(Message message, const QueueId& queue, Done done) {
    if (queue.topic != message.topic) {
        return Error{
            Errc::kRefused,
            "the queue belongs to topic " + queue.topic + ", the message to " + message.topic};
    }
    SendTarget target;
    target.kind = SendKind::kQueue;
    target.queue = &queue;
    return state_->sender->accept(std::move(message), target, std::move(done));
}

Status Producer::send_oneway(Message message) {
    SendTarget target;
    target.kind = SendKind::kOneway;
    return state_->sender->accept(std::move(message), target, {});
}

Result<MessageView> Producer::request(Message message, std::chrono::milliseconds timeout) {
    GANTRY_TRY(state_->client->runtime().need_gantry("request"));
    auto awaited = std::make_shared<Awaited<Result<MessageView>>>();
    GANTRY_TRY(state_->requests->request(
        std::move(message), timeout, [awaited](Result<MessageView> result) {
            awaited->set(std::move(result));
        }));
    return awaited->wait();
}

Status Producer::request_async(Message message, std::chrono::milliseconds timeout, OnReply done) {
    GANTRY_TRY(state_->client->runtime().need_gantry("request"));
    return state_->requests->request(std::move(message), timeout, std::move(done));
}

Status Producer::reply(const MessageView& request, Message message) {
    GANTRY_TRY(state_->client->runtime().need_gantry("reply"));
    auto awaited = std::make_shared<Awaited<Status>>();
    GANTRY_TRY(state_->requests->reply(request, std::move(message), [awaited](Status result) {
        awaited->set(std::move(result));
    }));
    return awaited->wait();
}

Status Producer::reply_async(const MessageView& request, Message message, ReplyDone done) {
    GANTRY_TRY(state_->client->runtime().need_gantry("reply"));
    return state_->requests->reply(request, std::move(message), std::move(done));
}

void Producer::set_selector(Selector selector) {
    state_->sender->set_selector(std::move(selector));
}

Result<std::vector<QueueId>> Producer::queues(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const RoutePtr route,
                            state_->client->runtime().routes().wait_for(std::string(topic)));
    return route->write_queues;
}

Status Producer::flush(std::chrono::milliseconds limit) {
    return state_->sender->flush(limit);
}

Status Producer::close(std::chrono::milliseconds drain_limit) {
    const Status drained = state_->sender->close(drain_limit);
    state_->requests->close();
    if (state_->tracer != nullptr) {
        state_->tracer->close();
    }
    return drained;
}

}  // namespace gantry::client
