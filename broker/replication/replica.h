// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/replication/replica_info.h"
#include "broker/settings.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/result.h"
#include "protocol/wire/replication.pb.h"
#include "storage/store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace gantry::broker {}  // namespace gantry::broker
