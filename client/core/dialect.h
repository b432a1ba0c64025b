// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "common/result.h"

#include <string>
#include <vector>

namespace gantry::client {

class LoopSlot;

/// What the first of `nameservers` that answers speaks: each is asked in turn for its cluster, in
/// the JSON that both kinds know, and says in its answer what it is written in: RocketMQ's in Java,
/// Gantry's in C++. Only an answer counts: a link that breaks or stays silent says nothing about
/// who is there.
///
/// Threads   not a loop's; blocks at most 3 s over all of them.
/// Errors    that of the last one asked, when none has answered.
Result<Dialect> detect_dialect(LoopSlot& slot, const std::vector<std::string>& nameservers);

}  // namespace gantry::client
