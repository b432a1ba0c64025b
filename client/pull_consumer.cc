// SPDX-License-Identifier: Apache-2.0
#include "client/consume/offsets.h"
#include "client/consume/queue_assigner.h"
#include "client/consume/queue_buffers.h"
#include "client/consumer.h"
#include "client/core/awaited.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <utility>

namespace gantry::client {

struct PullConsumer::State {
    State(std::shared_ptr<Client> its_client, const Options& its_options)
        : client(std::move(its_client)),
          runtime(client->runtime()),
          slot(runtime.next_slot()),
          options(its_options),
          buffers(std::make_shared<QueueBuffers>(
              runtime,
              slot,
              BufferLimits{options.buffer_bytes_max, options.buffer_bytes_max},
              options.on_lost)),
          assigner(std::make_shared<QueueAssigner>(runtime, slot, buffers, assigner_options())) {}

    QueueAssigner::Options assigner_options() const {
        QueueAssigner::Options result;
        result.group = options.group;
        result.start_from = options.start_from;
        result.sharing = options.sharing;
        result.fetch.messages_max = options.pull_messages_max;
        result.fetch.bytes_max = options.pull_bytes_max;
        result.fetch.hold = options.poll_hold;
        result.fetch.check_crc = options.check_crc;
        return result;
    }

    /// The route of the queue's topic is known afterwards, and with it the broker's address.
    Status know_broker(const QueueId& queue) {
        GANTRY_ASSIGN_OR_RETURN(const RoutePtr route, runtime.routes().wait_for(queue.topic));
        if (route->find_broker(queue.broker) == nullptr) {
            return Error{Errc::kNotFound,
                         "topic " + queue.topic + " has no queue on broker " + queue.broker};
        }
        return ok();
    }

    Status need_group() const {
        if (options.group.empty()) {
            return Error{Errc::kRefused, "the consumer has no group"};
        }
        return ok();
    }

    Status commit(const std::map<QueueId, std::int64_t>& offsets) {
        if (offsets.empty()) {
            return ok();
        }
        return wait_for<Status>([&](auto done) {
            Offsets(runtime, slot).commit(options.group, offsets, std::move(done));
        });
    }

    template <class Ask>
    Result<std::int64_t> offset(const QueueId& queue, Ask&& question) {
        GANTRY_TRY(know_broker(queue));
        return wait_for<Result<std::int64_t>>(std::forward<Ask>(question));
    }

    const std::shared_ptr<Client> client;
    Runtime& runtime;
    LoopSlot& slot;
    const Options options;
    const std::shared_ptr<QueueBuffers> buffers;
    const std::shared_ptr<QueueAssigner> assigner;

    Mutex mutex;
    std::map<std::string, Subscription> subscriptions GANTRY_GUARDED_BY(mutex);
    std::map<QueueId, std::int64_t> committed GANTRY_GUARDED_BY(mutex);
    bool is_assigned GANTRY_GUARDED_BY(mutex) = false;
};

PullConsumer::PullConsumer(std::shared_ptr<State> state) : state_(std::move(state)) {}

PullConsumer::~PullConsumer() {
    close();
}

Result<std::unique_ptr<PullConsumer>> PullConsumer::create(std::shared_ptr<Client> client,
                                                           const Options& options) {
    if (!options.group.empty()) {
        GANTRY_TRY(wire::check_group_name(options.group));
    }
    if (options.sharing.kind == Sharing::Kind::kBroker) {
        return Error{Errc::kRefused,
                     "sharing.kind kBroker: only a push consumer hands over queues"};
    }
    GANTRY_TRY(check_sharing(options.sharing));
    if (options.pull_messages_max == 0 || options.pull_bytes_max == 0) {
        return Error{Errc::kRefused, "pull_messages_max and pull_bytes_max must be above 0"};
    }
    if (options.poll_hold.count() < 0) {
        return Error{Errc::kRefused,
                     "poll_hold " + std::to_string(options.poll_hold.count()) + " ms is below 0"};
    }
    auto state = std::make_shared<State>(std::move(client), options);
    return std::unique_ptr<PullConsumer>(new PullConsumer(std::move(state)));
}

Result<std::vector<QueueId>> PullConsumer::queues(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const RoutePtr route,
                            state_->runtime.routes().wait_for(std::string(topic)));
    return route->read_queues;
}

Status PullConsumer::assign(std::vector<QueueId> queues, const MessageSelector& selector) {
    GANTRY_ASSIGN_OR_RETURN(const Subscription wanted, make_subscription(selector));
    if (!queues.empty()) {
        GANTRY_TRY(check_selector(state_->runtime, state_->slot, queues.front().topic, selector));
    }
    {
        const MutexLock lock(state_->mutex);
        if (!state_->subscriptions.empty()) {
            return Error{Errc::kConflict, "the consumer has subscribed: it cannot assign, too"};
        }
        state_->is_assigned = true;
    }
    return state_->assigner->assign({queues.begin(), queues.end()}, wanted);
}

Status PullConsumer::subscribe(std::string_view topic, std::string_view expression) {
    return subscribe(topic, MessageSelector::by_tag(std::string(expression)));
}

Status PullConsumer::subscribe(std::string_view topic, const MessageSelector& selector) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_TRY(state_->need_group());
    GANTRY_ASSIGN_OR_RETURN(Subscription wanted, make_subscription(selector));
    GANTRY_TRY(check_selector(state_->runtime, state_->slot, std::string(topic), selector));
    std::map<std::string, Subscription> all;
    {
        const MutexLock lock(state_->mutex);
        if (state_->is_assigned) {
            return Error{Errc::kConflict, "the consumer has assigned: it cannot subscribe, too"};
        }
        state_->subscriptions[std::string(topic)] = std::move(wanted);
        all = state_->subscriptions;
    }
    return state_->assigner->join(std::move(all));
}

std::vector<QueueId> PullConsumer::assignment() const {
    return state_->buffers->queues();
}

std::vector<MessageView> PullConsumer::poll(std::chrono::milliseconds wait, std::size_t count_max) {
    std::vector<MessageView> messages;
    SteadyTime deadline = std::chrono::steady_clock::now() + wait;
    while (messages.size() < count_max) {
        if (!state_->buffers->take(messages, count_max - messages.size(), deadline, false)) {
            break;
        }
        deadline = SteadyTime{};  // the rest only if it is there
    }
    return messages;
}

Status PullConsumer::seek(const QueueId& queue, std::int64_t offset) {
    return state_->buffers->seek(queue, offset);
}

void PullConsumer::pause(const QueueId& queue) {
    state_->buffers->pause(queue);
}

void PullConsumer::resume(const QueueId& queue) {
    state_->buffers->resume(queue);
}

std::int64_t PullConsumer::position(const QueueId& queue) const {
    return state_->buffers->position(queue);
}

Status PullConsumer::commit() {
    GANTRY_TRY(state_->need_group());
    std::map<QueueId, std::int64_t> changed = state_->buffers->commit_offsets();
    {
        const MutexLock lock(state_->mutex);
        for (const auto& [queue, offset] : state_->committed) {
            const auto found = changed.find(queue);
            if (found != changed.end() && found->second == offset) {
                changed.erase(found);
            }
        }
    }
    GANTRY_TRY(state_->commit(changed));
    const MutexLock lock(state_->mutex);
    for (const auto& [queue, offset] : changed) {
        state_->committed[queue] = offset;
    }
    return ok();
}

Status PullConsumer::commit(const QueueId& queue, std::int64_t offset) {
    GANTRY_TRY(state_->need_group());
    if (offset < 0) {
        return Error{Errc::kRefused, "offset " + std::to_string(offset) + " is below 0"};
    }
    GANTRY_TRY(state_->know_broker(queue));
    GANTRY_TRY(state_->commit({{queue, offset}}));
    const MutexLock lock(state_->mutex);
    state_->committed[queue] = offset;
    return ok();
}

Result<std::optional<std::int64_t>> PullConsumer::committed(const QueueId& queue) {
    GANTRY_TRY(state_->need_group());
    GANTRY_TRY(state_->know_broker(queue));
    return wait_for<Result<std::optional<std::int64_t>>>([&](auto done) {
        Offsets(state_->runtime, state_->slot)
            .committed(state_->options.group, queue, std::move(done));
    });
}

Result<std::int64_t> PullConsumer::min_offset(const QueueId& queue) {
    return state_->offset(queue, [&](auto done) {
        Offsets(state_->runtime, state_->slot).min(queue, std::move(done));
    });
}

Result<std::int64_t> PullConsumer::max_offset(const QueueId& queue) {
    return state_->offset(queue, [&](auto done) {
        Offsets(state_->runtime, state_->slot).max(queue, std::move(done));
    });
}

Result<std::int64_t> PullConsumer::offset_by_time(const QueueId& queue, WallMs time) {
    return state_->offset(queue, [&](auto done) {
        Offsets(state_->runtime, state_->slot).by_time(queue, time, std::move(done));
    });
}

std::uint64_t PullConsumer::out_of_range_count() const {
    return state_->buffers->moved_count();
}

void PullConsumer::close() {
    state_->buffers->stop_taking();
    state_->assigner->leave();
    state_->buffers->close();
    if (!state_->slot.loop().in_loop()) {
        state_->slot.run_and_wait([] {});  // the fetchers' last work
    }
}

}  // namespace gantry::client
