// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "common/mutex.h"
#include "protocol/wire/group.pb.h"

namespace gantry::storage {
struct ParkedName;
}

namespace gantry::broker {

class Dispatcher;

/// Messages that a group has put aside by key: list (10072), and put aside, release, hold, say
/// done, drop (10073). The answer leaves when the change is durable, and says what is left.
///
/// Errors    kQueryNotFound: the key is not parked. kFenced: a lock token that is over.
///           kSystemBusy: as many messages are parked as may be. Those of the store.
/// Threads   any loop.
class ParkedKeyHandler {
public:
    static constexpr std::size_t kMessagesMax = 1'000'000;  ///< of all groups

    explicit ParkedKeyHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    using Request = wire::ChangeParkedKeyRequest;

    void list(Call& call, const wire::ParkedKeysRequest& request);
    void change(Call& call, const Request& request);
    Status check(const Request& request) const;
    /// What to log; no change: there is nothing to do.
    Result<wire::StateRecord> plan(const Request& request, const storage::ParkedName& name) const;
    Result<wire::StateRecord> plan_park(const Request& request,
                                        const storage::ParkedName& name) const;
    Result<LogOffset> commit(const Request& request,
                             const storage::ParkedName& name,
                             wire::ChangeParkedKeyResponse& response);

    Context& context_;
    Mutex mutex_;  ///< one change at a time
};

}  // namespace gantry::broker
