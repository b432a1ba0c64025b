// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"
#include "storage/types.h"

namespace gantry::broker {

/// Stores the records of a native send (10001, isDelayed) for later, all or none, and fills the
/// answer. One that is due already waits for the next tick. Any loop.
///
/// Errors    kRefused: a record that is damaged or of something else, a property that is no time
///           within the limit. Those of Store::append_records.
Result<storage::Appended> store_delayed_frame(Call& call,
                                              const wire::SendRecordsRequest& request,
                                              const storage::Queue& queue,
                                              wire::SendRecordsResponse& response);

/// Answers a delayed send that was stored before, once that is durable, as it was answered then.
void answer_delayed_repeat(Call& call, const storage::Appended& stored);

}  // namespace gantry::broker
