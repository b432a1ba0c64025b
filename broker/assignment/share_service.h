// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/assignment/share_coordinator.h"
#include "broker/call.h"
#include "common/mutex.h"
#include "protocol/net/event_loop.h"
#include "protocol/wire/share.pb.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

class Dispatcher;

/// The queues that this broker deals out to members of groups (10060, 10061): keeps their requests
/// until their share changes, or for half a heartbeat.
///
/// What a member releases is committed, as durable as the flush mode says, before the queue is
/// granted to the next one.
///
/// Threads   any loop; one mutex. open, start, stop: as Broker does.
/// Limits    kNamesMax topics and kQueuesMax queues in one request.
class ShareService {
public:
    static constexpr int kNamesMax = 1'000;
    static constexpr int kQueuesMax = 100'000;

    explicit ShareService(Context& context) : context_(context) {}

    ShareService(const ShareService&) = delete;
    ShareService& operator=(const ShareService&) = delete;
    ~ShareService() = default;

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

    /// After the store is open. `loop`: the first, which ends what has been silent.
    void open(LoopState& loop);
    /// Once the loops are about to run.
    void start();
    /// In the first loop: answers nobody any more.
    void stop();

    /// Before the loops go.
    void close() { timer_.reset(); }

    /// The group's members changed, as heartbeats say.
    void group_changed(const std::string& group);
    void connection_closed(PeerId peer);
    /// False, counted, when the token of the grant is over.
    bool may_commit(std::string_view group,
                    std::string_view topic,
                    std::int32_t queue_id,
                    std::int64_t token);

private:
    using MemberId = ShareCoordinator::MemberId;

    struct Parked {
        Addressee to;
        SteadyTime until;
    };

    /// An answer that is to leave.
    struct Reply {
        Addressee to;
        Share share;
    };

    void share(Call& call, const wire::ShareQueuesRequest& request);
    void list(Call& call, const wire::ListSharesRequest& request);
    Status check(const wire::ShareQueuesRequest& request) const;
    void take(ShareAsk ask, const Addressee& to);
    void sweep();
    std::optional<Reply> unpark(const MemberId& member) GANTRY_REQUIRES(mutex_);
    std::vector<Reply> unpark_all(const ShareCoordinator::Changed& changed) GANTRY_REQUIRES(mutex_);
    void send(const std::vector<Reply>& replies);

    Context& context_;
    std::unique_ptr<net::Timer> timer_;
    Mutex mutex_;
    std::unique_ptr<ShareCoordinator> coordinator_ GANTRY_GUARDED_BY(mutex_);
    std::map<MemberId, Parked> parked_ GANTRY_GUARDED_BY(mutex_);
    std::uint64_t expired_told_ GANTRY_GUARDED_BY(mutex_) = 0;
    std::uint64_t granted_told_ GANTRY_GUARDED_BY(mutex_) = 0;
};

}  // namespace gantry::broker
