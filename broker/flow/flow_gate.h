// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/flow/flow_control.h"
#include "broker/peer.h"
#include "common/clock.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::broker {

struct Call;
struct Context;
class LoopState;

/// How much something is.
struct FlowAmount {
    std::int64_t messages = 0;
    std::int64_t bytes = 0;
};

/// Why something may not pass now, and when its sender is to come again.
struct FlowRefusal {
    std::chrono::milliseconds retry_after{0};
    std::string detail;
};

/// One loop's look at the limits of rates. Where nobody is limited it costs a load and a branch.
///
/// Threads   the loop's thread.
class FlowGate {
public:
    FlowGate(Context& context, LoopState& loop) : context_(context), loop_(loop) {}

    /// Whether a send may pass; takes nothing. `topic`: where it goes.
    std::optional<FlowRefusal> refuses(Peer& from, std::string_view topic, const FlowAmount& what);
    /// Takes what was stored.
    void sent(Peer& from, std::string_view topic, const FlowAmount& what);

    /// How long `to` has to wait for the next delivery; zero: not at all. It may have gone.
    std::chrono::nanoseconds delivery_wait(PeerId to,
                                           std::string_view topic,
                                           std::string_view group);
    /// Takes what was delivered.
    void delivered(PeerId to,
                   std::string_view topic,
                   std::string_view group,
                   const FlowAmount& what);
    /// Lowers the most that one delivery may be to what comes in TokenBucket::kBurstNs, and at
    /// least 1.
    void cut(PeerId to,
             std::string_view topic,
             std::string_view group,
             std::uint32_t& count_max,
             std::uint32_t& bytes_max);

private:
    using Buckets = std::array<FlowBuckets*, 4>;

    void refresh();
    FlowBuckets* client_of(Peer& peer);
    /// Those that count, null where there is none.
    Buckets of(Peer* peer, std::string_view topic, std::string_view group);
    /// As of; looks the peer up only where clients are limited.
    Buckets of(PeerId to, std::string_view topic, std::string_view group);
    std::int64_t now_ns() const;

    Context& context_;
    LoopState& loop_;
    std::uint64_t version_ = 0;
    std::shared_ptr<const FlowTable> table_;
};

/// Answers a request that may not pass: FLOW_CONTROL natively, else `stock`; both with the time.
void refuse(const Call& call, const FlowRefusal& refusal, wire::ResponseCode stock);

}  // namespace gantry::broker
