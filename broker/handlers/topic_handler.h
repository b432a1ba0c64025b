// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/topic.pb.h"

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Topics: create and update (17), delete (215), list (21, 305), one (351), statistics (202), who
/// consumes one (300).
///
/// A change is answered when it is durable and the connected nameservers know it, so that a route
/// query right after it finds the new state; a nameserver that hangs delays the answer by at most
/// Registrar::kAnnounceWait.
///
///   error                                     native            stock
///   name illegal, queue numbers, perm         refused           1
///   attribute unknown or malformed            refused           1
///   reserved name                             refused           1
///   createOnly and it exists                  kConflict         1
///   updateOnly or deletion of none            kTopicNotExist    17, deletion: success
///
/// Threads   any loop.
class TopicHandler {
public:
    TopicHandler(Context& context, TopicCreator& creator) : context_(context), creator_(creator) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void put(Call& call, const wire::CreateTopicRequest& request);
    void remove(Call& call, const wire::TopicRequest& request);
    void list(Call& call);
    void get(Call& call, const wire::TopicRequest& request);
    void list_system(Call& call);
    void statistics(Call& call, const wire::TopicRequest& request);
    void consumers(Call& call, const wire::TopicRequest& request);

    Status check_put(const wire::CreateTopicRequest& request) const;
    void finish(const Call& call, const Result<storage::Appended>& logged) const;

    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker
