// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/copy/copy_producer.h"
#include "client/produce/rocketmq_send.h"
#include "common/result.h"

#include <vector>

namespace gantry::client {

/// The frame as requests that RocketMQ's brokers know, to be sent one after the other. A batch
/// holds neighbours that were born within a second: it has one born time for all. What a request
/// cannot say of a message goes as properties, see copied_property.
///
/// Errors    kRefused: a body or properties above the limits of `options`.
Result<std::vector<RocketMqSend>> rocketmq_copy(const CopiedFrame& frame,
                                                const CopyProducer::Options& options);

}  // namespace gantry::client
