// SPDX-License-Identifier: Apache-2.0
#include "client/pop_consumer.h"

#include "client/core/runtime.h"
#include "client/pop/pop_engine.h"
#include "protocol/wire/names.h"

#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kThreadsMax = 1'024;
constexpr std::uint32_t kPopMessagesMax = 65'536;
constexpr std::uint32_t kPopBytesMax = 8U << 20U;
constexpr std::chrono::milliseconds kInvisibleMin{100};
constexpr std::chrono::milliseconds kLastClose{3'000};

Status check_range(std::string_view name, std::uint64_t value, std::uint64_t most) {
    if (value == 0 || value > most) {
        return Error{Errc::kRefused,
                     std::string(name) + ' ' + std::to_string(value) + " is not in 1.." +
                         std::to_string(most)};
    }
    return ok();
}

Status check_options(const PopConsumer::Options& options) {
    GANTRY_TRY(wire::check_group_name(options.group));
    GANTRY_TRY(check_range("threads", options.threads, kThreadsMax));
    GANTRY_TRY(check_range("pop_messages_max", options.pop_messages_max, kPopMessagesMax));
    GANTRY_TRY(check_range("pop_bytes_max", options.pop_bytes_max, kPopBytesMax));
    GANTRY_TRY(check_range("buffer_messages_max", options.buffer_messages_max, 1U << 20U));
    GANTRY_TRY(check_range("batch_messages_max", options.batch_messages_max, kPopMessagesMax));
    if (options.start_from == StartFrom::Kind::kTimestamp) {
        return Error{Errc::kRefused, "start_from must be kLast or kFirst: pops begin at an end"};
    }
    if (options.invisible < kInvisibleMin) {
        return Error{Errc::kRefused,
                     "invisible " + std::to_string(options.invisible.count()) + " ms < " +
                         std::to_string(kInvisibleMin.count()) + " ms"};
    }
    if (options.poll_hold.count() < 0 || options.retry_delay.count() < 0 ||
        options.hold_max.count() < 0) {
        return Error{Errc::kRefused, "poll_hold, retry_delay and hold_max must not be below 0 ms"};
    }
    return ok();
}

}  // namespace

struct PopConsumer::State {
    std::shared_ptr<Client> client;
    std::shared_ptr<PopEngine> engine;
    bool is_closed = false;
};

PopConsumer::PopConsumer(std::unique_ptr<State> state) : state_(std::move(state)) {}

PopConsumer::~PopConsumer() {
    static_cast<void>(close(kLastClose));
    state_->engine->join();
}

Result<std::unique_ptr<PopConsumer>> PopConsumer::create(std::shared_ptr<Client> client,
                                                         const Options& options) {
    GANTRY_TRY(check_options(options));
    GANTRY_TRY(client->runtime().need_gantry("pop consumer"));
    auto state = std::make_unique<State>();
    Runtime& runtime = client->runtime();
    state->client = std::move(client);
    state->engine = std::make_shared<PopEngine>(runtime, runtime.next_slot(), options);
    state->engine->start();
    return std::unique_ptr<PopConsumer>(new PopConsumer(std::move(state)));
}

Status PopConsumer::subscribe(std::string_view topic, const MessageSelector& selector) {
    GANTRY_TRY(wire::check_topic_name(topic));
    return state_->engine->subscribe(std::string(topic), selector);
}

std::vector<PoppedMessage> PopConsumer::poll(std::chrono::milliseconds wait,
                                             std::size_t count_max) {
    return state_->engine->poll(wait, count_max);
}

void PopConsumer::ack(std::span<const PoppedMessage> messages) {
    state_->engine->ack(messages);
}

void PopConsumer::give_back(std::span<const PoppedMessage> messages,
                            std::chrono::milliseconds delay) {
    state_->engine->give_back(messages, delay);
}

void PopConsumer::renew(std::span<const PoppedMessage> messages,
                        std::chrono::milliseconds invisible) {
    state_->engine->renew(messages, invisible);
}

Status PopConsumer::flush(std::chrono::milliseconds limit) {
    return state_->engine->flush(limit);
}

Status PopConsumer::start(Listener listener) {
    return state_->engine->listen(std::move(listener));
}

Status PopConsumer::close(std::chrono::milliseconds limit) {
    if (std::exchange(state_->is_closed, true)) {
        return ok();
    }
    return state_->engine->close(limit);
}

}  // namespace gantry::client
