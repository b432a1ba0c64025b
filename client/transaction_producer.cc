// SPDX-License-Identifier: Apache-2.0
#include "client/transaction_producer.h"

#include "client/core/heartbeats.h"
#include "client/core/runtime.h"
#include "client/produce/transaction_engine.h"
#include "protocol/wire/names.h"

#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kThreadsMax = 256;
constexpr std::uint32_t kMessageBytesLimit = 15U << 20U;  // a frame takes 16 MiB

Error out_of_range(std::string_view name, std::int64_t value, std::string_view rule) {
    return Error{Errc::kRefused,
                 std::string(name) + ' ' + std::to_string(value) + " is not " + std::string(rule)};
}

Status check_options(const TransactionProducer::Options& options) {
    GANTRY_TRY(wire::check_group_name(options.group));
    for (const std::string& topic : options.topics) {
        GANTRY_TRY(wire::check_topic_name(topic));
    }
    if (options.deadline.count() <= 0) {
        return out_of_range("deadline", options.deadline.count(), "above 0 ms");
    }
    if (options.in_flight_max == 0) {
        return out_of_range("in_flight_max", 0, "above 0");
    }
    if (options.threads == 0 || options.threads > kThreadsMax) {
        return out_of_range("threads", options.threads, "within 1 to 256");
    }
    if (options.message_bytes_max > kMessageBytesLimit) {
        return out_of_range("message_bytes_max", options.message_bytes_max, "at most 15 MiB");
    }
    return check_compression(options.compression);
}

}  // namespace

struct TransactionProducer::State {
    std::shared_ptr<Client> client;
    std::string group;
    std::shared_ptr<TransactionEngine> engine;
};

TransactionProducer::TransactionProducer(std::unique_ptr<State> state) : state_(std::move(state)) {}

TransactionProducer::~TransactionProducer() {
    static_cast<void>(close(std::chrono::milliseconds{0}));
    state_->engine->join();
    state_->client->runtime().heartbeats().remove_producer(state_->group);
}

Result<std::unique_ptr<TransactionProducer>> TransactionProducer::create(
    std::shared_ptr<Client> client, const Options& options, Check check) {
    GANTRY_TRY(check_options(options));
    GANTRY_TRY(client->runtime().need_gantry("transaction producer"));
    if (!check) {
        return Error{Errc::kRefused, "check is empty: brokers ask it what became of transactions"};
    }
    auto state = std::make_unique<State>();
    Runtime& runtime = client->runtime();
    state->client = std::move(client);
    state->group = options.group;
    state->engine = std::make_shared<TransactionEngine>(
        runtime, runtime.next_slot(), options, std::move(check));
    state->engine->start();
    return std::unique_ptr<TransactionProducer>(new TransactionProducer(std::move(state)));
}

Result<TransactionReceipt> TransactionProducer::send(Message message, Local local) {
    return state_->engine->send(std::move(message), local);
}

Status TransactionProducer::send_async(Message message, Local local, Done done) {
    return state_->engine->send_async(std::move(message), std::move(local), std::move(done));
}

Result<Transaction> TransactionProducer::begin(Message message) {
    return state_->engine->begin(std::move(message));
}

Status TransactionProducer::commit(const Transaction& transaction) {
    return state_->engine->end(transaction, TransactionOutcome::kCommit);
}

Status TransactionProducer::rollback(const Transaction& transaction) {
    return state_->engine->end(transaction, TransactionOutcome::kRollback);
}

Status TransactionProducer::close(std::chrono::milliseconds drain_limit) {
    return state_->engine->close(drain_limit);
}

}  // namespace gantry::client
