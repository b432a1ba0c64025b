// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/delivery/pending_acks.h"

#include <string>

namespace gantry::broker {

class Dispatcher;

/// What the broker knows of numbered sends to a topic (10090): who copies queues asks it where it
/// was. What the answer counts as stored is acknowledged: it waits for that as a send does.
///
/// Threads   any loop; the table is copied in the pool.
/// Errors    kNotFound: no such topic. kUnknown: this broker is no longer the master.
class NumberHandler {
public:
    explicit NumberHandler(Context& context) : context_(context) {}

    /// Registers the request above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void list(Call& call);
    void read(LoopState& loop, const Addressee& to, AckAt at, const std::string& topic) const;

    Context& context_;
};

}  // namespace gantry::broker
