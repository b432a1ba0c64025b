// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/control.h"

#include "broker/replica/coordinators.h"
#include "common/log.h"
#include "common/random.h"
#include "protocol/net/socket.h"

#include <future>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");
constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kAnnounceEvery{1'000};
constexpr std::chrono::milliseconds kLeaveLimit{2'000};
constexpr int kHeartbeatsMissedMax = 6;

}  // namespace

Control::Control(Parts parts)
    : parts_(std::move(parts)),
      incarnation_(random_seed()),
      id_(parts_.copy.id()),
      ended_(std::make_shared<std::atomic<bool>>(false)),
      promised_(parts_.copy.promised_epoch()),
      elections_(parts_.metrics.counter("gantry_broker_elections_total",
                                        "Epochs that this broker became master of.")) {}

Control::~Control() {
    close();
}

Status Control::start() {
    GANTRY_ASSIGN_OR_RETURN(loop_, net::EventLoop::create({.name = "replica"}));
    GANTRY_TRY(make_links());
    GANTRY_TRY(server_->listen(parts_.options.base.listen_address, parts_.replication_port));
    tick_ = std::make_unique<net::Timer>(*loop_, [this] { tick(); });
    again_ = std::make_unique<net::Timer>(*loop_, [this] { decide(); });
    leaving_ = std::make_unique<net::Timer>(*loop_, [this] { try_hand_over(); });
    place_ = place_of(parts_.options.store_directory);
    loop_->start_thread();
    post([this] { begin(); });
    return ok();
}

LinkOptions Control::link_options() const {
    const ReplicationOptions& replication = parts_.options.replication;
    LinkOptions link;
    link.group = parts_.options.name;
    link.cluster = parts_.options.cluster;
    link.self = id_;
    link.secret = parts_.secret;
    link.client_address = parts_.client_address;
    link.metrics = &parts_.metrics;
    link.segment_bytes = static_cast<std::uint64_t>(parts_.options.store_segment_bytes);
    link.window_bytes = static_cast<std::uint64_t>(replication.window_bytes);
    link.seed_bytes_per_second = static_cast<std::uint64_t>(replication.seed_bytes_per_second);
    link.heartbeat = std::chrono::milliseconds(replication.heartbeat_ms);
    link.silence_max = kHeartbeatsMissedMax * link.heartbeat;
    return link;
}

Status Control::make_links() {
    const ReplicationOptions& replication = parts_.options.replication;
    const LinkOptions link = link_options();
    server_ = std::make_unique<ReplicationServer>(*loop_, parts_.clock, link, server_callbacks());
    follower_ = std::make_unique<Follower>(*loop_, parts_.clock, link, follower_callbacks());
    GANTRY_ASSIGN_OR_RETURN(
        coordinator_,
        make_coordinator({*loop_, parts_.clock, boot_clock_, parts_.files}, parts_.options, link));
    reach_ = std::make_shared<Reach>(*loop_, link);
    Elector::Options elector;
    elector.self = id_;
    elector.incarnation = incarnation_;
    elector.is_automatic = !replication.is_static();
    elector.may_found = !replication.is_static() || replication.role == "master";
    elector_ = std::make_unique<Elector>(elector);
    return ok();
}

void Control::begin() {
    const std::string host = parts_.options.replication.advertise_host;
    std::string address = parts_.client_address;
    if (const auto parts = net::split_host_port(address)) {
        const std::string& name = host.empty() ? parts->host : host;
        const bool is_v6 = name.find(':') != std::string::npos;
        address = (is_v6 ? "[" + name + "]" : name) + ":" + std::to_string(server_->port());
    }
    parts_.role.set_replication_address(address);
    parts_.role.set_operator(
        {[this](RoleState::StatusDone done) { post([this, done] { done(status()); }); },
         [this](const wire::PromoteRequest& request, RoleState::PromoteDone done) {
             post([this, request, done] { promote(request, done); });
         }});
    parts_.copy.on_progress([this] { on_store_progress(); });
    kLog.info("joins_group",
              {{"group", parts_.options.name},
               {"member", id_.member},
               {"storage", to_string(id_)},
               {"promised_epoch", promised_},
               {"address", address},
               {"new_storage_id", parts_.copy.was_renewed()}});
    take_store();
    announced_ = self();
    coordinator_->start(announced_, [this](const GroupView& view) { on_view(view); });
    tick_->start_every(kTick);
}

LiveMember Control::self() const {
    LiveMember member;
    member.id = id_;
    member.replication_address = parts_.role.replication_address();
    member.client_address = parts_.client_address;
    member.epoch = promised_;
    member.log_end = store_ != nullptr ? store_->watermarks().appended.value : announced_.log_end;
    member.incarnation = incarnation_;
    member.place = place_;
    return member;
}

void Control::announce() {
    LiveMember member = self();
    announce_at_ = parts_.clock.steady() + kAnnounceEvery;
    if (!(member == announced_)) {
        announced_ = std::move(member);
        coordinator_->announce(announced_);
    }
}

void Control::tick() {
    check_lease();
    maintain();
    tell_of_copies();
    if (store_ != nullptr) {
        parts_.role.set_confirmed(store_->watermarks().confirmed);
    }
    if (parts_.clock.steady() >= announce_at_) {
        announce();
    }
    decide();
}

void Control::post(std::function<void()> task) {
    if (const Status posted = loop_->post(std::move(task)); !posted) {
        kLog.debug("task_dropped", {{"error", posted.error()}});
    }
}

/// `then` runs on the loop, unless it has ended by then.
void Control::run_job(const char* what, Work work, Then then) {
    busy_ = what;
    tell(std::string("its role is changing: ") + what);
    const Status submitted = parts_.role_thread.submit(
        [this, ended = ended_, work = std::move(work), then = std::move(then)]() mutable {
            if (ended->load()) {
                return;
            }
            const Status done = work();
            post([this, done, then = std::move(then)] {
                busy_.clear();
                then(done);
            });
        });
    if (!submitted) {
        kLog.warn("role_change_dropped", {{"what", what}, {"error", submitted.error()}});
    }
}

void Control::tell(std::string why_not_ready) {
    const MutexLock lock(mutex_);
    why_not_ready_ = std::move(why_not_ready);
}

std::string Control::why_not_ready() const {
    const MutexLock lock(mutex_);
    return why_not_ready_;
}

void Control::on_store_progress() {
    server_->appended();
    if (is_progress_posted_.exchange(true, std::memory_order_acq_rel)) {
        return;
    }
    post([this] {
        is_progress_posted_.store(false, std::memory_order_release);
        maintain();
    });
}

void Control::hand_over() {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> finished = done->get_future();
    post([this, done] { begin_hand_over([done] { done->set_value(); }); });
    finished.wait_for(2 * kHandOverLimit);
}

void Control::close() {
    if (std::exchange(is_closed_, true) || !loop_) {
        return;
    }
    ended_->store(true);
    parts_.role.set_operator({});
    parts_.copy.on_progress(nullptr);
    auto left = std::make_shared<std::promise<void>>();
    std::future<void> finished = left->get_future();
    post([this, left] {
        tick_->cancel();
        again_->cancel();
        leaving_->cancel();
        reopen_.reset();
        let_go_of_store();
        coordinator_->stop([left] { left->set_value(); });
    });
    if (loop_->is_running()) {
        finished.wait_for(kLeaveLimit);
    }
    stop_loop();
}

void Control::stop_loop() {
    if (reach_) {
        reach_->close();
    }
    loop_->stop();
    loop_->join();
    tick_.reset();
    again_.reset();
    leaving_.reset();
    reopen_.reset();
    if (follower_) {
        follower_->close();
    }
    follower_.reset();
    if (server_) {
        server_->close();
    }
    server_.reset();
    coordinator_.reset();
    loop_.reset();
}

}  // namespace gantry::broker
