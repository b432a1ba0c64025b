// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"

namespace gantry::broker {

class Dispatcher;

/// What the broker knows of numbered sends to a topic (10090): who copies queues asks it where it
/// was.
///
/// Threads   any loop; the table is copied in the pool.
/// Errors    kNotFound: no such topic.
class NumberHandler {
public:
    explicit NumberHandler(Context& context) : context_(context) {}

    /// Registers the request above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void list(Call& call);

    Context& context_;
};

}  // namespace gantry::broker
