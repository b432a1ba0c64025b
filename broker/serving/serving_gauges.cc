// SPDX-License-Identifier: Apache-2.0
#include "broker/context.h"
#include "broker/flow/memory_limit.h"
#include "broker/loop_state.h"
#include "broker/serving/serving_handlers.h"
#include "storage/pop/pops.h"
#include "storage/timers/timers.h"

namespace gantry::broker {

void Serving::add_gauges() {
    metrics_.gauge("gantry_broker_parked_pulls", "Pulls waiting for messages.", [this] {
        std::size_t count = 0;
        for (const auto& loop : loop_states_) {
            count += loop->long_poll().count();
        }
        return static_cast<double>(count);
    });
    metrics_.gauge("gantry_broker_parked_pops", "Pops waiting for messages.", [this] {
        std::size_t count = 0;
        for (const auto& loop : loop_states_) {
            count += loop->pop_parking().count();
        }
        return static_cast<double>(count);
    });
    metrics_.gauge("gantry_broker_pop_in_flight", "Popped messages not acknowledged.", [this] {
        return static_cast<double>(store_.pops().table().size().messages);
    });
    metrics_.gauge("gantry_broker_pop_leases", "Runs of such messages.", [this] {
        return static_cast<double>(store_.pops().table().size().leases);
    });
    metrics_.gauge(
        "gantry_broker_memory_bytes",
        "Held for requests, answers and what waits; see limits.memory_bytes_max.",
        [this] { return static_cast<double>(context_->memory.used() + parked_bytes(*context_)); });
    metrics_.gauge("gantry_broker_flow_clients", "Clients that a limit of rates counts.", [this] {
        return static_cast<double>(context_->flow.client_count());
    });
    metrics_.gauge("gantry_broker_group_members", "Members of consumer groups.", [this] {
        return static_cast<double>(context_->groups.member_count());
    });
    add_delivery_gauges();
}

void Serving::add_delivery_gauges() {
    metrics_.gauge("gantry_broker_delayed_waiting", "Delayed messages that wait.", [this] {
        return static_cast<double>(store_.timers().waiting());
    });
    metrics_.gauge("gantry_broker_delayed_late_ms",
                   "How much later than due the last delayed messages were stored.",
                   [this] { return static_cast<double>(handlers_->timers->late_ms()); });
    metrics_.gauge("gantry_broker_transactions_open", "Transactions without an outcome.", [this] {
        return static_cast<double>(store_.transactions().table().size());
    });
    metrics_.gauge(
        "gantry_broker_transaction_age_max_ms", "Since the first of them was stored.", [this] {
            const auto oldest = store_.transactions().table().oldest();
            return oldest ? static_cast<double>(clock_.wall_ms() - oldest->store_ms) : 0;
        });
    metrics_.gauge("gantry_broker_producer_queues",
                   "Producers' queues whose numbers are remembered.",
                   [this] { return static_cast<double>(store_.numbered_queues()); });
    metrics_.gauge("gantry_broker_registered", "1 when a nameserver knows this broker.", [this] {
        return handlers_->registrar->is_registered() ? 1.0 : 0.0;
    });
    metrics_.gauge("gantry_broker_writable", "1 while the store takes writes.", [this] {
        return store_.read_only_reason().empty() ? 1.0 : 0.0;
    });
}

}  // namespace gantry::broker
