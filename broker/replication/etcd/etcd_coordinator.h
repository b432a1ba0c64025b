// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/replication/etcd/etcd_client.h"
#include "common/clock.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::broker {

/// A group's state and living members in etcd.
///
///   <prefix>/<cluster>/<group>/state          GroupState, changed only where its revision is known
///   <prefix>/<cluster>/<group>/live/<member>  LiveMember, under that broker's lease
///
/// Every third of the lease it renews the lease and reads all keys, linearizably: that, and not the
/// watch, is what makes a view current. The watch makes it fast. A watch that ends, as when etcd
/// has compacted what it was about to tell, begins anew behind another reading.
///
/// A member whose key is held by another incarnation is not registered until that one's lease is
/// over, so that two processes never pass for one member; unless that one was in the same directory
/// of the same run of the machine: whose lock this process has.
///
/// The view is not current while etcd has not answered for the length of a lease, or takes no
/// writes (its quota is used up).
///
/// Threads   one loop.
/// Lifetime  loop and clock outlive it.
class EtcdCoordinator final : public Coordinator {
public:
    /// Where etcd is, and under which names the group is kept.
    struct Options {
        std::vector<std::string> endpoints;  ///< host:port
        std::string prefix = "/gantry";
        std::string cluster;
        std::string group;
        std::chrono::milliseconds lease{5'000};  ///< in etcd in whole seconds, 2 s at least
    };

    /// `clock`: a BootClock, so that a lease runs out while the machine is suspended.
    EtcdCoordinator(net::EventLoop& loop, Clock& clock, Options options);
    ~EtcdCoordinator() override;

    void start(LiveMember self, OnView on_view) override;
    /// A change of log_end alone is told with the next renewal.
    void announce(LiveMember self) override;
    void swap(std::uint64_t revision, const GroupState& next, SwapDone done) override;
    SteadyTime lease_until() const override;
    void stop(UniqueFunction<void()> done) override;

private:
    std::string live_key() const;
    void tick();
    void renew();
    void on_lease(SteadyTime sent_at, Result<EtcdLease> lease);
    void list();
    void on_listing(SteadyTime sent_at, Result<EtcdListing> listing);
    void take(EtcdListing listing);
    void watch();
    void on_news(const EtcdWatchNews& news);
    void publish();
    std::optional<EtcdCondition> publish_condition();
    void on_published(const EtcdKey& sent, const Result<std::uint64_t>& outcome);
    void on_swapped(const EtcdKey& sent, Result<std::uint64_t> outcome, SwapDone done);
    void note_write(const EtcdKey& sent, std::uint64_t revision);
    void tell();
    GroupView view() const;

    net::EventLoop& loop_;
    Clock& clock_;
    const Options options_;
    const std::string folder_;  ///< what all keys begin with
    LiveMember self_;
    OnView on_view_;
    bool is_stopping_ = false;

    std::map<std::string, EtcdKey> keys_;
    std::uint64_t cluster_ = 0;
    std::uint64_t revision_ = 0;          ///< that keys_ are of
    std::uint64_t own_write_ = 0;         ///< the last that succeeded: older listings are old
    std::optional<SteadyTime> heard_at_;  ///< a listing that succeeded was asked for
    bool is_full_ = false;
    bool is_listing_ = false;
    bool must_list_again_ = false;
    std::vector<UniqueFunction<void()>> after_listing_;
    bool is_watching_ = false;
    std::optional<GroupView> told_;

    std::int64_t lease_ = 0;
    SteadyTime lease_until_ = SteadyTime::min();
    bool is_renewing_ = false;
    std::optional<LiveMember> published_;  ///< under lease_
    bool is_publishing_ = false;
    bool must_publish_ = false;
    std::uint64_t refused_for_ = 0;  ///< incarnation that holds our key, told in the log

    net::Timer tick_;
    net::Timer again_;  ///< lists soon
    net::Timer stop_limit_;
    UniqueFunction<void()> stopped_;
    std::unique_ptr<EtcdClient> client_;
};

}  // namespace gantry::broker
