// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/flow/flow_gate.h"
#include "protocol/wire/codes.h"

#include <cstdint>
#include <optional>

namespace gantry::broker {

struct Context;

/// Bytes held for pulls, pops and sends that wait, about.
std::int64_t parked_bytes(const Context& context);

/// Why a request is not taken for want of memory: limits.memory_bytes_max is held by what waits.
/// Only requests that make more of it are refused; acknowledgements, commits, heartbeats and
/// administration go on, since they end it.
///
/// Threads   any loop.
std::optional<FlowRefusal> refuses_for_memory(const Context& context, wire::RequestCode code);

/// The number stock clients are told then: push consumers come again soon after FLOW_CONTROL.
wire::ResponseCode stock_memory_code(wire::RequestCode code) noexcept;

}  // namespace gantry::broker
