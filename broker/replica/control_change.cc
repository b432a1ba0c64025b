// SPDX-License-Identifier: Apache-2.0
// Role changes: each is a step that the thread "role" does, between two on the loop.
#include "broker/replica/control.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");

std::int64_t ms_between(SteadyTime from, SteadyTime to) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
}

}  // namespace

void Control::unfollow() {
    ++links_made_;
    put_off_ = nullptr;
    follows_.clear();
    follower_->unfollow();
}

/// Nobody but "role" uses the store from now on.
void Control::let_go_of_store() {
    unfollow();
    server_->set_store(nullptr);
    store_ = nullptr;
}

void Control::take_store() {
    store_ = parts_.copy.store();
    promised_ = std::max(promised_, parts_.copy.promised_epoch());
    server_->set_store(store_);
    if (store_ != nullptr) {
        store_->repair_from(reach_->source(*store_));
    }
}

void Control::take_over(const GroupState& state, std::uint64_t revision) {
    const SteadyTime since = parts_.clock.steady();
    unfollow();
    parts_.role.be_slave(state.epoch);
    auto start = std::make_shared<LogOffset>();
    run_job(
        "takes over",
        [this, epoch = state.epoch, loss = state.loss_accepted, start]() -> Status {
            GANTRY_ASSIGN_OR_RETURN(const storage::Appended first, parts_.copy.lead(epoch, loss));
            *start = first.first;
            return ok();
        },
        [this, state, revision, start, since](const Status& done) {
            promised_ = std::max(promised_, state.epoch);
            if (!done) {
                kLog.error("cannot_lead", {{"epoch", state.epoch}, {"error", done.error()}});
                answer_promotions(done.error());
                return;
            }
            led(state, revision, *start, since);
        });
}

/// The epoch has begun in the log: copies may follow while the serving layer is made.
void Control::led(const GroupState& state,
                  std::uint64_t revision,
                  LogOffset start,
                  SteadyTime since) {
    InSync::Options options;
    options.self = id_;
    options.epoch = state.epoch;
    options.epoch_start = start;
    options.lag_max = std::chrono::milliseconds(parts_.options.replication.lag_ms_max);
    options.copies_min = static_cast<std::size_t>(parts_.options.replication.in_sync_min);
    in_sync_ = std::make_unique<InSync>(options, state, revision);
    serving_ = state.epoch;
    server_->lead(state.epoch);
    check_lease();
    elections_.add();
    answer_promotions(state.epoch);
    maintain();
    if (serving_ != state.epoch) {
        return;  // deposed already
    }
    run_job(
        "becomes master",
        [this, epoch = state.epoch] {
            return parts_.copy.serve([this, epoch] { parts_.role.be_master(epoch); });
        },
        [this, epoch = state.epoch, start, since](const Status& done) {
            if (!done) {
                step_down("it cannot serve: " + to_string(done.error()));
                return;
            }
            if (serving_ != epoch) {
                step_down("it was deposed while it took over");
                return;
            }
            is_settled_.store(true);
            kLog.info("is_master",
                      {{"epoch", epoch},
                       {"epoch_start", start.value},
                       {"in_sync", in_sync_->size()},
                       {"ms", ms_between(since, parts_.clock.steady())}});
            announce();
            tell_of_copies();
        });
}

/// Nothing is acknowledged when this returns; the rest follows.
void Control::step_down(const std::string& reason) {
    kLog.warn("steps_down", {{"epoch", serving_}, {"reason", reason}});
    parts_.role.depose(std::max(serving_, promised_));
    in_sync_.reset();
    serving_ = 0;
    if (store_ == nullptr) {
        return;
    }
    store_->replica().fence(reason);
    server_->yield(view_.state.master, master_replication_address());
    if (busy_.empty()) {
        reopen("steps down", nullptr);  // else the step under way finds itself deposed
    }
}

/// Closes the copy, does `while_closed`, and serves it anew as a slave.
void Control::reopen(const char* what, Work while_closed) {
    const SteadyTime since = parts_.clock.steady();
    let_go_of_store();
    run_job(
        what,
        [this, while_closed = std::move(while_closed)]() -> Status {
            if (const Status closed = parts_.copy.close(); !closed) {
                // What could not be written is found missing by the next start.
                kLog.error("store_close_failed", {{"error", closed.error()}});
            }
            if (while_closed) {
                GANTRY_TRY(while_closed());
            }
            GANTRY_TRY(parts_.copy.open());
            return parts_.copy.serve([] {});
        },
        [this, what, since](const Status& done) {
            if (!done) {
                kLog.error("role_change_failed", {{"what", what}, {"error", done.error()}});
                tell(std::string(what) + ": " + to_string(done.error()));
                retry_reopen();
                return;
            }
            take_store();
            kLog.info("is_slave",
                      {{"what", what},
                       {"epoch", promised_},
                       {"log_end", store_->watermarks().appended.value},
                       {"ms", ms_between(since, parts_.clock.steady())}});
            announce();
            decide();
        });
}

void Control::retry_reopen() {
    constexpr std::chrono::milliseconds kAgain{1'000};
    reopen_ = std::make_unique<net::Timer>(*loop_, [this] { reopen("opens its store", nullptr); });
    reopen_->start_once(kAgain);
}

void Control::cut(LogOffset at, bool is_foreign) {
    if (!busy_.empty()) {
        put_off_ = [this, at, is_foreign] { cut(at, is_foreign); };
        return;
    }
    const storage::Watermarks marks = store_->watermarks();
    kLog.warn("log_diverges",
              {{"epoch", follows_epoch_},
               {"cut_at", at.value},
               {"log_end", marks.appended.value},
               {"confirmed", marks.confirmed.value},
               {"foreign", is_foreign}});
    if (is_foreign) {
        let_go_of_store();
        busy_ = "puts its store aside";
        tell(busy_);
        static_cast<void>(parts_.role_thread.submit([foreign = parts_.on_foreign] { foreign(); }));
        return;
    }
    reopen("cuts its log", [this, at]() -> Status {
        GANTRY_ASSIGN_OR_RETURN(const storage::StoreCut cut, parts_.copy.cut(at));
        kLog.warn("log_cut", {{"at", at.value}, {"bytes", cut.bytes}, {"kept", cut.kept.string()}});
        return ok();
    });
}

void Control::seed(const wire::StoreSeed& seed) {
    if (!busy_.empty()) {
        put_off_ = [this, seed] { this->seed(seed); };
        return;
    }
    reopen("is seeded", [this, seed] { return parts_.copy.plant(seed); });
}

Follower::Callbacks Control::follower_callbacks() {
    Follower::Callbacks callbacks;
    // The link that says so ends by it, so that it is done after the call.
    callbacks.on_must_cut = [this](LogOffset at, bool is_foreign) {
        post([this, at, is_foreign, link = links_made_] {
            if (link == links_made_) {
                cut(at, is_foreign);
            }
        });
    };
    callbacks.on_seed = [this](const wire::StoreSeed& planted) {
        post([this, planted, link = links_made_] {
            if (link == links_made_) {
                seed(planted);
            }
        });
    };
    callbacks.on_other_master = [](std::int64_t epoch, std::int64_t master, const auto& address) {
        kLog.info("heard_of_other_master",
                  {{"epoch", epoch}, {"master", master}, {"address", address}});
    };
    callbacks.on_master_lost = [this](bool is_refused) {
        if (!std::exchange(is_lost_, true)) {
            kLog.warn("master_lost", {{"epoch", follows_epoch_}, {"refused", is_refused}});
        }
        if (is_refused) {
            refused_ = follows_epoch_;
        }
        post([this] { decide(); });
    };
    callbacks.on_following = [this] {
        refused_ = -1;
        is_lost_ = false;
        store_failure_.clear();
        is_settled_.store(true);
        kLog.info("is_following", {{"epoch", follows_epoch_}, {"address", follows_}});
        post([this] { decide(); });
    };
    callbacks.on_store_failed = [this](const Error& why) {
        store_failure_ = "the store takes nothing: " + to_string(why);
        kLog.error("cannot_follow", {{"error", why}});
    };
    return callbacks;
}

ReplicationServer::Callbacks Control::server_callbacks() {
    ReplicationServer::Callbacks callbacks;
    callbacks.on_ack = [this](const MemberId& id, LogOffset end, SteadyTime caught_up_at) {
        if (in_sync_) {
            in_sync_->acknowledged(id, end, caught_up_at);
            maintain();
        }
    };
    callbacks.on_lost = [this](const MemberId& id) {
        kLog.info("slave_lost", {{"slave", to_string(id)}});
        if (in_sync_) {
            in_sync_->disconnected(id);
        }
    };
    callbacks.on_higher_epoch = [this](std::int64_t epoch) {
        post([this, epoch] {
            if (serving_ != 0 && epoch > serving_) {
                step_down("a member obeys epoch " + std::to_string(epoch));
            }
        });
    };
    callbacks.status = [this] { return status(); };
    return callbacks;
}

}  // namespace gantry::broker
