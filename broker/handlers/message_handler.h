// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"

namespace gantry::broker {

class Dispatcher;

/// Finds single messages: by position in the log (33), by key or unique key and time (12). Bodies
/// are stored records.
///
/// Threads   any loop; the reading is done in the pool.
/// Errors    33: 1, natively kQueryNotFound, when no message starts there. 12: 22 when none match.
/// Limits    12 returns at most 256 messages and 8 MiB, one message always.
class MessageHandler {
public:
    explicit MessageHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void view(Call& call, const wire::ViewMessageRequest& request);
    void query(Call& call, const wire::QueryMessageRequest& request);

    Context& context_;
};

}  // namespace gantry::broker
