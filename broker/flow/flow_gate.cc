// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/flow_gate.h"

#include "broker/call.h"
#include "broker/context.h"
#include "broker/loop_state.h"

#include <algorithm>
#include <tuple>

namespace gantry::broker {

namespace {

constexpr std::int64_t kMsNs = 1'000'000;

/// Of clients that have not told their id on this connection.
std::string host_of(const net::Connection& connection) {
    const std::string& peer = connection.peer();
    return peer.substr(0, peer.rfind(':'));
}

}  // namespace

void FlowGate::refresh() {
    const std::uint64_t version = context_.flow.version();
    if (version != version_) {
        version_ = version;
        table_ = context_.flow.table();
    }
}

std::int64_t FlowGate::now_ns() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               context_.clock.steady().time_since_epoch())
        .count();
}

FlowBuckets* FlowGate::client_of(Peer& peer) {
    if (peer.flow_version != version_) {
        peer.flow_version = version_;
        peer.flow = context_.flow.client(
            *table_, peer.client_id.empty() ? host_of(*peer.connection) : peer.client_id);
    }
    return peer.flow.get();
}

FlowGate::Buckets FlowGate::of(Peer* peer, std::string_view topic, std::string_view group) {
    Buckets buckets{table_->broker.get(), nullptr, nullptr, nullptr};
    if (table_->limits_clients && peer != nullptr) {
        buckets[1] = client_of(*peer);
    }
    if (const auto at = table_->topics.find(topic); at != table_->topics.end()) {
        buckets[2] = at->second.get();
    }
    if (const auto at = table_->groups.find(group); !group.empty() && at != table_->groups.end()) {
        buckets[3] = at->second.get();
    }
    return buckets;
}

FlowGate::Buckets FlowGate::of(PeerId to, std::string_view topic, std::string_view group) {
    return of(table_->limits_clients ? loop_.find_peer(to) : nullptr, topic, group);
}

std::optional<FlowRefusal> FlowGate::refuses(Peer& from,
                                             std::string_view topic,
                                             const FlowAmount& what) {
    refresh();
    if (!table_->limits_sends) {
        return std::nullopt;
    }
    const std::int64_t now = now_ns();
    const TokenBucket* closed = nullptr;
    std::int64_t wait = 0;
    FlowRefusal refusal;
    for (FlowBuckets* const each : of(&from, topic, {})) {
        if (each == nullptr) {
            continue;
        }
        for (const auto& [bucket, count, unit] :
             {std::tuple{&each->send_messages, what.messages, " messages/s"},
              std::tuple{&each->send_bytes, what.bytes, " B/s"}}) {
            const std::int64_t promised = bucket->promise_ns(count, now);
            if (promised > wait) {
                wait = promised;
                closed = bucket;
                refusal.detail = each->whose + " takes " + std::to_string(bucket->rate()) + unit;
            }
        }
    }
    if (closed == nullptr) {
        return std::nullopt;
    }
    refusal.retry_after = std::chrono::milliseconds((wait + kMsNs - 1) / kMsNs);
    return refusal;
}

void FlowGate::sent(Peer& from, std::string_view topic, const FlowAmount& what) {
    refresh();
    if (!table_->limits_sends) {
        return;
    }
    const std::int64_t now = now_ns();
    for (FlowBuckets* const each : of(&from, topic, {})) {
        if (each != nullptr) {
            each->send_messages.take(what.messages, now);
            each->send_bytes.take(what.bytes, now);
        }
    }
}

std::chrono::nanoseconds FlowGate::delivery_wait(PeerId to,
                                                 std::string_view topic,
                                                 std::string_view group) {
    refresh();
    std::int64_t wait = 0;
    if (!table_->limits_deliveries) {
        return std::chrono::nanoseconds(wait);
    }
    const std::int64_t now = now_ns();
    for (const FlowBuckets* const each : of(to, topic, group)) {
        if (each != nullptr) {
            wait = std::max(
                {wait, each->deliver_messages.wait_ns(now), each->deliver_bytes.wait_ns(now)});
        }
    }
    return std::chrono::nanoseconds(wait);
}

void FlowGate::delivered(PeerId to,
                         std::string_view topic,
                         std::string_view group,
                         const FlowAmount& what) {
    refresh();
    if (!table_->limits_deliveries) {
        return;
    }
    const std::int64_t now = now_ns();
    for (FlowBuckets* const each : of(to, topic, group)) {
        if (each != nullptr) {
            each->deliver_messages.take(what.messages, now);
            each->deliver_bytes.take(what.bytes, now);
        }
    }
}

void FlowGate::cut(PeerId to,
                   std::string_view topic,
                   std::string_view group,
                   std::uint32_t& count_max,
                   std::uint32_t& bytes_max) {
    refresh();
    if (!table_->limits_deliveries) {
        return;
    }
    constexpr std::int64_t kBurstsPerSecond = TokenBucket::kSecondNs / TokenBucket::kBurstNs;
    const auto lower = [](std::uint32_t& value, std::int64_t rate) {
        if (rate > 0) {
            value = static_cast<std::uint32_t>(
                std::min<std::int64_t>(value, std::max<std::int64_t>(rate / kBurstsPerSecond, 1)));
        }
    };
    for (const FlowBuckets* const each : of(to, topic, group)) {
        if (each != nullptr) {
            lower(count_max, each->deliver_messages.rate());
            lower(bytes_max, each->deliver_bytes.rate());
        }
    }
}

void refuse(const Call& call, const FlowRefusal& refusal, wire::ResponseCode stock) {
    Counters& counters = call.context.counters;
    counters.requests_failed.add();
    counters.failed_by_class[static_cast<std::size_t>(Errc::kBusy)]->add();
    counters.flow.refused.add();
    wire::FlowControlResponse fields;
    fields.set_retryaftermillis(refusal.retry_after.count());
    call.frame.connection.reply(call.to,
                                call.is_native() ? wire::ResponseCode::kFlowControl : stock,
                                "[FLOW_CONTROL] " + refusal.detail + ", retry after " +
                                    std::to_string(refusal.retry_after.count()) + " ms",
                                &fields);
}

}  // namespace gantry::broker
