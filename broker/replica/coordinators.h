// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/replication/replication_server.h"
#include "broker/settings.h"
#include "protocol/net/event_loop.h"

#include <memory>

namespace gantry::broker {

/// The coordinator that replication.mode asks for; on `loop`, which outlives it. `link` is how other
/// members are asked.
std::unique_ptr<Coordinator> make_coordinator(net::EventLoop& loop,
                                              const BrokerOptions& options,
                                              const LinkOptions& link);

}  // namespace gantry::broker
