// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"

namespace gantry::broker {

class Dispatcher;

/// What the broker says about itself: to mqadmin (28, text values) and to gantry (10020).
///
/// Threads   any loop. What asks the file system runs in the pool.
class DescribeHandler {
public:
    explicit DescribeHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void runtime_info(Call& call);
    void describe(Call& call);

    Context& context_;
};

}  // namespace gantry::broker
