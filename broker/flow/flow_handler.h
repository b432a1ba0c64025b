// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Limits of rates, for administrators: set or take away one (10080), list them (10081). A limit
/// that is set is a record of the state topic and survives the broker.
///
/// Threads   any loop.
/// Errors    10080: kRefused, a field is out of its range; kNotFound, there is no such topic.
class FlowHandler {
public:
    FlowHandler(Context& context, TopicCreator& creator) : context_(context), creator_(creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void set(Call& call);
    void list(Call& call);

    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker
