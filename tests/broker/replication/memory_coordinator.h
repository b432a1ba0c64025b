// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "protocol/net/event_loop.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace gantry::broker::test {

/// A register for several members in one process, instead of etcd. Threads: any. Outlives the
/// coordinators.
class MemoryRegister {
public:
    /// What one coordinator has there; its loop is where it is called back.
    struct Seat {
        net::EventLoop* loop = nullptr;
        LiveMember self;
        Coordinator::OnView on_view;  // called on the loop only
        bool is_there = false;        // its lease lives
        bool is_over = false;         // stopped
    };

    GroupState state() {
        const std::lock_guard hold(mutex_);
        return state_;
    }

    /// Cuts a member off, or lets it in again: it hears nothing, its swaps are not sent, and the
    /// others see its lease end at once.
    void set_reachable(std::int64_t member, bool is_reachable) {
        const std::lock_guard hold(mutex_);
        cut_[member] = !is_reachable;
        for (const auto& seat : seats_) {
            if (seat->self.id.member == member) {
                seat->is_there = is_reachable;
            }
        }
        tell();
    }

    void join(std::shared_ptr<Seat> seat) {
        const std::lock_guard hold(mutex_);
        seat->is_there = !cut_[seat->self.id.member];
        seats_.push_back(std::move(seat));
        tell();
    }

    void announce(Seat& seat, LiveMember self) {
        const std::lock_guard hold(mutex_);
        seat.self = std::move(self);
        tell();
    }

    void leave(Seat& seat) {
        const std::lock_guard hold(mutex_);
        seat.is_there = false;
        seat.is_over = true;
        tell();
    }

    bool is_there(Seat& seat) {
        const std::lock_guard hold(mutex_);
        return seat.is_there;
    }

    Result<std::uint64_t> swap(Seat& seat, std::uint64_t revision, const GroupState& next) {
        const std::lock_guard hold(mutex_);
        if (cut_[seat.self.id.member]) {
            return Error{Errc::kGone, "cut off"};
        }
        if (revision != revision_) {
            return Error{Errc::kConflict, "revision " + std::to_string(revision_)};
        }
        state_ = next;
        ++revision_;
        return revision_;
    }

    /// Tells everybody who is there.
    void tell_all() {
        const std::lock_guard hold(mutex_);
        tell();
    }

private:
    void tell() {
        GroupView view{.state = state_, .revision = revision_, .live = {}, .is_current = true};
        for (const auto& seat : seats_) {
            if (seat->is_there) {
                view.live.push_back(seat->self);
            }
        }
        for (const auto& seat : seats_) {
            GroupView its = view;
            its.is_current = !cut_[seat->self.id.member];
            (void)seat->loop
                ->post([seat, its = std::move(its)] {
                    if (!seat->is_over) {
                        seat->on_view(its);
                    }
                })
                .has_value();
        }
    }

    std::mutex mutex_;
    GroupState state_;
    std::uint64_t revision_ = 0;
    std::vector<std::shared_ptr<Seat>> seats_;
    std::map<std::int64_t, bool> cut_;
};

/// A member's way to it.
class MemoryCoordinator final : public Coordinator {
public:
    MemoryCoordinator(net::EventLoop& loop, MemoryRegister& its_register)
        : register_(its_register), seat_(std::make_shared<MemoryRegister::Seat>()) {
        seat_->loop = &loop;
    }

    ~MemoryCoordinator() override { register_.leave(*seat_); }

    void start(LiveMember self, OnView on_view) override {
        seat_->self = std::move(self);
        seat_->on_view = std::move(on_view);
        register_.join(seat_);
    }

    void announce(LiveMember self) override { register_.announce(*seat_, std::move(self)); }

    void swap(std::uint64_t revision, const GroupState& next, SwapDone done) override {
        Result<std::uint64_t> outcome = register_.swap(*seat_, revision, next);
        (void)seat_->loop
            ->post([seat = seat_,
                    at = &register_,
                    result = std::move(outcome),
                    callback = std::move(done)]() mutable {
                if (!seat->is_over) {
                    callback(std::move(result));
                    at->tell_all();
                }
            })
            .has_value();
    }

    SteadyTime lease_until() const override {
        return register_.is_there(*seat_) ? SteadyTime::max() : SteadyTime::min();
    }

    void stop(UniqueFunction<void()> done) override {
        register_.leave(*seat_);
        (void)seat_->loop->post([callback = std::move(done)]() mutable { callback(); }).has_value();
    }

private:
    MemoryRegister& register_;
    std::shared_ptr<MemoryRegister::Seat> seat_;
};

}  // namespace gantry::broker::test
