// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"

namespace gantry::broker {

class Dispatcher;

/// Takes delayed messages back before they are due (370) and lists those that wait (10040).
///
/// Threads   any loop; both are done in the pool, they read the log.
/// Errors    370: 604 the handle is none, or of another topic or broker. kDelayedUnknown (stock
///           peers: 604): no such message is known. kDelayedOver (stock peers: 604): it was
///           delivered, or cancelled before. kBusy: delay.cancelled_max. 17: no such topic. 16: it
///           takes no writes.
class TimerHandler {
public:
    explicit TimerHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void recall(Call& call, const wire::RecallMessageRequest& request);
    void list(Call& call, const wire::ListDelayedRequest& request);

    Context& context_;
};

}  // namespace gantry::broker
