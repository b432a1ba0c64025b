// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replica/local_copy.h"
#include "broker/replica/reach.h"
#include "broker/replica/role_state.h"
#include "broker/replication/boot_clock.h"
#include "broker/replication/coordinator.h"
#include "broker/replication/elector.h"
#include "broker/replication/follower.h"
#include "broker/replication/in_sync.h"
#include "broker/replication/replication_server.h"
#include "broker/settings.h"
#include "broker/work_pool.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "protocol/net/event_loop.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gantry::broker {

/// Where one copy of a group's log takes its decisions: a loop, called "replica", on which are the
/// coordinator, the elector, the in-sync set and both ends of the replication links. What blocks is
/// done by a thread called "role", one step at a time:
///
///   loop   view, link, lease, ack -> decide -> promise -> follow
///                                          `-> swap -> [promise, lead, serve] -> master
///                                          `-> fence -> [close, cut, open, serve] -> slave
///   role                             [ ... ]
///
/// A master that is deposed, for whatever reason, acknowledges nothing from that moment on; its
/// store is closed and opened anew, and what its log has too much is cut when the next master says
/// so.
///
/// Threads   start, close: any but its own two. on_store_progress, why_not_ready, hand_over: any.
/// Lifetime  what Parts name outlives it. One of it for one storage id.
class Control {
public:
    /// What it works with.
    struct Parts {
        const BrokerOptions& options;
        Clock& clock;
        FileSystem& files;
        MetricRegistry& metrics;
        RoleState& role;
        LocalCopy& copy;
        WorkPool& role_thread;
        std::string secret;
        std::string client_address;
        std::uint16_t replication_port = 0;
        std::function<void()> on_foreign;  ///< another storage id is needed; called by "role"
    };

    explicit Control(Parts parts);
    ~Control();
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;

    /// Listens for members, joins the group, and takes decisions from now on. The copy is open and
    /// serves as a slave.
    Status start();
    /// A master with another member in sync takes nothing new, waits until that one has everything
    /// and makes it the master; otherwise nothing. Blocks, about kHandOverLimit at most.
    void hand_over();
    /// Leaves the group and ends both threads' work. Blocks. Idempotent.
    void close();

    std::uint16_t port() const noexcept { return server_->port(); }

    /// Follows a master, or is one.
    bool is_settled() const noexcept { return is_settled_.load(); }

    /// The store's watermarks moved.
    void on_store_progress();
    std::string why_not_ready() const;

    static constexpr std::chrono::milliseconds kHandOverLimit{2'000};

private:
    using Work = std::function<Status()>;
    using Then = std::function<void(const Status&)>;

    // control.cc
    void begin();
    LinkOptions link_options() const;
    Status make_links();
    LiveMember self() const;
    void tick();
    void announce();
    void run_job(const char* what, Work work, Then then);
    void tell(std::string why_not_ready);
    void post(std::function<void()> task);
    void stop_loop();

    // control_decide.cc
    void on_view(const GroupView& view);
    void decide();
    Elector::Decision ask_elector();
    void follow(const Elector::Decision& decision);
    void follow_now(const Elector::Decision& decision);
    void stand(const Elector::Decision& decision);
    void wait(const Elector::Decision& decision);
    void note_master();
    std::string master_replication_address() const;
    void check_lease();
    void maintain();
    void on_swapped(std::int64_t epoch, const Result<std::uint64_t>& outcome);
    void confirm();
    void tell_of_copies();
    std::int64_t choose_reading_slave() const;

    // control_change.cc
    void take_over(const GroupState& state, std::uint64_t revision);
    void led(const GroupState& state, std::uint64_t revision, LogOffset start, SteadyTime since);
    void step_down(const std::string& reason);
    void cut(LogOffset at, bool is_foreign);
    void seed(const wire::StoreSeed& seed);
    void unfollow();
    void let_go_of_store();
    void take_store();
    void reopen(const char* what, Work while_closed);
    void retry_reopen();
    Follower::Callbacks follower_callbacks();
    ReplicationServer::Callbacks server_callbacks();

    // control_operator.cc
    wire::ReplicaStatus status() const;
    void promote(const wire::PromoteRequest& request, RoleState::PromoteDone done);
    wire::PromoteResponse prospects() const;
    bool is_master_alive() const;
    void answer_promotions(const Result<std::int64_t>& epoch);
    void begin_hand_over(std::function<void()> done);
    void try_hand_over();
    void handed_to(const MemberId& heir, const Result<std::uint64_t>& outcome);
    void end_hand_over(const std::string& how);

    const Parts parts_;
    BootClock boot_clock_;
    const std::uint64_t incarnation_;
    std::string place_;  ///< LiveMember::place
    const MemberId id_;
    std::unique_ptr<net::EventLoop> loop_;
    std::unique_ptr<ReplicationServer> server_;
    std::unique_ptr<Follower> follower_;
    std::unique_ptr<Coordinator> coordinator_;
    std::unique_ptr<Elector> elector_;
    std::shared_ptr<Reach> reach_;
    std::atomic<bool> is_settled_{false};
    std::atomic<bool> is_progress_posted_{false};
    mutable Mutex mutex_;
    std::string why_not_ready_ GANTRY_GUARDED_BY(mutex_) = "starting";
    bool is_closed_ = false;
    const std::shared_ptr<std::atomic<bool>> ended_;  ///< steps that still wait are not done

    // The loop's.
    std::unique_ptr<net::Timer> tick_;
    std::unique_ptr<net::Timer> again_;
    std::unique_ptr<net::Timer> leaving_;
    std::unique_ptr<net::Timer> reopen_;
    storage::Store* store_ = nullptr;  ///< null while "role" has it
    GroupView view_;
    std::unique_ptr<InSync> in_sync_;  ///< of a master
    std::int64_t serving_ = 0;         ///< the epoch it is master of
    std::int64_t promised_ = 0;
    bool is_lost_ = false;       ///< the master it follows, as was told
    std::int64_t refused_ = -1;  ///< the epoch whose master's port refuses
    std::int64_t follows_epoch_ = 0;
    std::string follows_;            ///< address; empty: nobody
    std::uint64_t links_made_ = 0;   ///< tells what was said by an earlier link
    std::function<void()> put_off_;  ///< what the link asked for while "role" was at work
    std::string busy_;               ///< what "role" does; empty: nothing
    std::string store_failure_;
    bool is_swapping_ = false;
    bool is_handed_over_ = false;  ///< or was to be: it stops, and takes no more decisions
    std::optional<Elector::Asked> asked_;
    std::vector<std::pair<wire::PromoteResponse, RoleState::PromoteDone>> promotions_;
    LiveMember announced_;
    SteadyTime announce_at_{};
    std::function<void()> handed_over_;
    SteadyTime hand_over_until_{};
    Counter& elections_;
};

}  // namespace gantry::broker
