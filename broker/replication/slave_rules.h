// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/codes.h"

#include <cstdint>

namespace gantry::broker {

/// Whether a broker that is not the master carries the request out: it reads, or concerns the
/// connection alone. Everything else, unknown codes too, goes to the master.
bool is_served_by_slaves(std::int32_t code) noexcept;

/// Refuses a request that only the master carries out: natively kNotMaster, with the master's
/// address as far as it is known; stock clients get what RocketMQ's slaves answer: 14 a send, 11
/// the end of a transaction and a recall, 1 the rest. Nothing was done.
void refuse_not_master(const Call& call);

}  // namespace gantry::broker
