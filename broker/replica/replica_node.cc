// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/replica_node.h"

#include "common/log.h"

#include <future>
#include <thread>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");
constexpr std::size_t kStepsMax = 1'000;
constexpr std::chrono::milliseconds kLookAgain{5};

}  // namespace

ReplicaNode::ReplicaNode(Private /*unused*/, const Parts& parts)
    : parts_(parts),
      replication_port_(
          broker::replication_port(parts.options.replication, parts.options.base.listen_port)),
      role_(parts.options.replication.member),
      copy_({parts.options, parts.clock, parts.files, parts.metrics, parts.place, role_}),
      role_thread_(1, kStepsMax, "role") {}

ReplicaNode::~ReplicaNode() {
    stop();
}

Result<std::unique_ptr<ReplicaNode>> ReplicaNode::start(const Parts& parts) {
    auto node = std::make_unique<ReplicaNode>(Private{}, parts);
    GANTRY_TRY(node->open());
    return node;
}

Status ReplicaNode::open() {
    GANTRY_ASSIGN_OR_RETURN(secret_, replication_secret(parts_.options.replication));
    is_running_ = true;
    add_gauges();
    return on_role_thread([this]() -> Status {
        GANTRY_TRY(copy_.open());
        role_.be_slave(copy_.promised_epoch());
        GANTRY_TRY(copy_.serve([] {}));
        return make_control();
    });
}

Status ReplicaNode::make_control() {
    Control::Parts parts{.options = parts_.options,
                         .clock = parts_.clock,
                         .files = parts_.files,
                         .metrics = parts_.metrics,
                         .role = role_,
                         .copy = copy_,
                         .role_thread = role_thread_,
                         .secret = secret_,
                         .client_address = parts_.place.address().text,
                         .replication_port = replication_port_,
                         .on_foreign = [this] { become_another_copy(); }};
    auto control = std::make_shared<Control>(std::move(parts));
    GANTRY_TRY(control->start());
    replication_port_ = control->port();
    const MutexLock lock(mutex_);
    control_ = std::move(control);
    return ok();
}

/// The log has nothing in common with the group's: it is kept, and an empty one takes its place,
/// which is another copy to the group. On the thread "role".
void ReplicaNode::become_another_copy() {
    if (is_stopping_.load()) {
        return;
    }
    std::shared_ptr<Control> before;
    {
        const MutexLock lock(mutex_);
        before = std::move(control_);
    }
    before->close();
    before.reset();
    const auto change = [this]() -> Status {
        GANTRY_TRY(copy_.close());
        GANTRY_ASSIGN_OR_RETURN(const storage::StoreCut aside, copy_.put_aside());
        kLog.warn("store_put_aside", {{"kept", aside.kept.string()}, {"bytes", aside.bytes}});
        GANTRY_TRY(copy_.open());
        GANTRY_TRY(copy_.serve([] {}));
        return make_control();
    };
    if (const Status changed = change(); !changed) {
        kLog.error("not_a_member_any_more", {{"error", changed.error()}});
    }
}

Status ReplicaNode::on_role_thread(const std::function<Status()>& work) {
    std::promise<Status> done;
    std::future<Status> finished = done.get_future();
    GANTRY_TRY(role_thread_.submit([&work, &done] { done.set_value(work()); }));
    return finished.get();
}

void ReplicaNode::add_gauges() {
    MetricRegistry& metrics = parts_.metrics;
    metrics.gauge("gantry_broker_role", "0 alone, 1 slave, 2 master.", [this] {
        return static_cast<double>(role_.role());
    });
    metrics.gauge("gantry_broker_epoch", "The epoch this broker obeys, or is master of.", [this] {
        return static_cast<double>(role_.epoch());
    });
    metrics.gauge("gantry_broker_in_sync_members",
                  "Copies that an acknowledgement waits for; 0 on a slave.",
                  [this] { return static_cast<double>(role_.in_sync()); });
    metrics.gauge("gantry_broker_confirmed_offset",
                  "How far all copies in sync have the log.",
                  [this] { return static_cast<double>(role_.confirmed().value); });
}

std::shared_ptr<Control> ReplicaNode::control() const {
    const MutexLock lock(mutex_);
    return control_;
}

void ReplicaNode::wait_until_settled(std::chrono::milliseconds limit) {
    const SteadyTime deadline = parts_.clock.steady() + limit;
    const auto is_settled = [this] {
        const auto now = control();
        return now && now->is_settled() && why_not_ready().empty();
    };
    while (!is_settled() && parts_.clock.steady() < deadline) {
        std::this_thread::sleep_for(kLookAgain);
    }
}

std::string ReplicaNode::why_not_ready() const {
    const auto now = control();
    if (!now) {
        return "its role is changing: puts its store aside";
    }
    if (std::string why = now->why_not_ready(); !why.empty()) {
        return why;
    }
    return copy_.why_not_ready();
}

void ReplicaNode::stop() {
    if (!std::exchange(is_running_, false)) {
        return;
    }
    is_stopping_.store(true);
    if (const auto now = control()) {
        now->hand_over();
    }
    const Status stopped = on_role_thread([this]() -> Status {
        copy_.stop_serving(Serving::Ending::kClean);
        if (const auto now = control()) {
            now->close();
        }
        return copy_.close();
    });
    if (!stopped) {
        kLog.error("store_close_failed", {{"error", stopped.error()}});
    }
    role_thread_.stop();
}

}  // namespace gantry::broker
