// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/replication/replication_server.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/result.h"
#include "protocol/net/event_loop.h"

#include <memory>

namespace gantry::broker {

/// What a coordinator works with; outlives it.
struct CoordinatorParts {
    net::EventLoop& loop;
    Clock& clock;
    Clock& boot_clock;
    FileSystem& files;
};

/// The coordinator that replication.mode asks for. `link` is how other members are asked. Errors:
/// those of StaticCoordinator::open.
Result<std::unique_ptr<Coordinator>> make_coordinator(const CoordinatorParts& parts,
                                                      const BrokerOptions& options,
                                                      const LinkOptions& link);

}  // namespace gantry::broker
