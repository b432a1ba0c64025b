// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "protocol/wire/state.pb.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// Limits of rates that were set at run time, by scope and name: a part of the state machine.
///
/// Threads   one at a time.
class FlowLimits {
public:
    /// Sets a limit, or takes it away where it says so.
    void put(const wire::FlowLimit& limit);
    void remove(const std::string& scope, const std::string& name);
    std::vector<wire::FlowLimit> all() const;
    /// Adds all to a snapshot.
    void save(wire::StateSnapshot& snapshot) const;

private:
    std::map<std::pair<std::string, std::string>, wire::FlowLimit> limits_;
};

/// Whether a limit is legal. kRefused: names the field, its value and the limit.
Status check_flow_limit(const wire::FlowLimit& limit);

}  // namespace gantry::storage
