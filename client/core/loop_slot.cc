// SPDX-License-Identifier: Apache-2.0
#include "client/core/loop_slot.h"

#include "client/core/awaited.h"
#include "common/check.h"
#include "protocol/wire/status.h"

#include <utility>
#include <vector>

namespace gantry::client {
namespace {

/// Between dials of a server that is away: it may be back, or taken over from, within a second.
constexpr std::chrono::milliseconds kBackoffMax{1'000};

}  // namespace

LoopSlot::LoopSlot(std::unique_ptr<net::EventLoop> loop) : loop_(std::move(loop)) {}

LoopSlot::~LoopSlot() {
    stop([] {});
}

Result<std::unique_ptr<LoopSlot>> LoopSlot::start(const std::string& name,
                                                  std::chrono::microseconds spin) {
    net::EventLoop::Options options;
    options.name = name;
    options.spin = spin;
    GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<net::EventLoop> loop, net::EventLoop::create(options));
    loop->start_thread();
    // Until its thread runs the loop counts as ours, and in_loop() would be true here.
    auto running = std::make_shared<Awaited<Done>>();
    GANTRY_TRY(loop->post([running] { running->set(Done{}); }));
    running->wait();
    return std::unique_ptr<LoopSlot>(new LoopSlot(std::move(loop)));
}

net::Channel& LoopSlot::channel(const std::string& address, std::uint64_t owner) {
    return find_or_make(address, owner, false);
}

net::Channel& LoopSlot::fail_fast_channel(const std::string& address, std::uint64_t owner) {
    return find_or_make(address, owner, true);
}

net::Channel& LoopSlot::find_or_make(const std::string& address,
                                     std::uint64_t owner,
                                     bool fail_fast) {
    std::unique_ptr<net::Channel>& slot = channels_[{owner, address}];
    if (slot == nullptr) {
        net::Channel::Options options;
        options.address = address;
        options.fail_fast = fail_fast;
        options.backoff_max = kBackoffMax;
        slot = std::make_unique<net::Channel>(*loop_, std::move(options));
        if (hook_) {
            hook_(*slot);
        }
    }
    return *slot;
}

void LoopSlot::drop(std::uint64_t owner) {
    std::vector<std::unique_ptr<net::Channel>> dropped;
    for (auto at = channels_.begin(); at != channels_.end();) {
        if (at->first.first == owner) {
            dropped.push_back(std::move(at->second));
            at = channels_.erase(at);
        } else {
            ++at;
        }
    }
}

void LoopSlot::abandon(const std::string& address, bool only_down) {
    std::vector<std::pair<std::uint64_t, std::string>> keys;
    for (const auto& [key, channel] : channels_) {
        if (key.second == address) {
            keys.push_back(key);
        }
    }
    for (const auto& key : keys) {  // what fails may make channels, or drop them
        const auto found = channels_.find(key);
        if (found != channels_.end() && !(only_down && found->second->is_up())) {
            found->second->abandon();
        }
    }
}

void LoopSlot::post_after(std::chrono::milliseconds delay, net::Task task) {
    post([this, delay, task = std::make_shared<net::Task>(std::move(task))] {
        if (is_stopping_) {
            return;
        }
        const std::uint64_t id = ++last_timer_;
        std::unique_ptr<net::Timer>& timer = timers_[id];
        timer = std::make_unique<net::Timer>(*loop_, [this, id, task] {
            const std::unique_ptr<net::Timer> fired = std::move(timers_[id]);
            timers_.erase(id);
            (*task)();
        });
        timer->start_once(delay);
    });
}

void LoopSlot::run_and_wait(net::Task task) {
    GANTRY_ASSERT(!loop_->in_loop());
    auto finished = std::make_shared<Awaited<Done>>();
    const bool posted = post([finished, work = std::move(task)]() mutable {
        work();
        finished->set(Done{});
    });
    if (posted) {
        finished->wait();
    }
}

void LoopSlot::stop(net::Task last) {
    if (std::exchange(stopped_, true)) {
        return;
    }
    run_and_wait([this, work = std::move(last)]() mutable {
        is_stopping_ = true;
        timers_.clear();
        work();
        while (!channels_.empty()) {
            std::exchange(channels_, {}).clear();  // a failed call may dial again
        }
        hook_ = nullptr;
    });
    loop_->stop();
    loop_->join();
}

Status check_response(const net::Received& received, std::string_view peer) {
    const wire::ResponseCode code = received.header.response();
    if (code == wire::ResponseCode::kSuccess) {
        return ok();
    }
    std::string detail(received.header.remark);
    if (detail.empty()) {
        detail = wire::name_of(code);
    }
    detail += " (" + std::string(peer) + " answered " +
              std::to_string(static_cast<std::int32_t>(code)) + ")";
    return Error{wire::errc_of(code), std::move(detail)};
}

}  // namespace gantry::client
