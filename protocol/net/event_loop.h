// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

struct event_base;

namespace gantry::net {

using Task = UniqueFunction<void()>;

/// Work a loop does once at the end of the pass in which it was asked for: flushing what the pass
/// put into a connection, releasing acknowledgements.
class PassEnd {
public:
    PassEnd() = default;
    PassEnd(const PassEnd&) = delete;
    PassEnd& operator=(const PassEnd&) = delete;
    virtual ~PassEnd() = default;
    virtual void on_pass_end() = 0;

private:
    friend class EventLoop;
    bool queued_ = false;
};

/// One libevent loop and the thread that runs it. A pass is: wait for events, handle all of them,
/// run posted tasks, run the pass-end work; so everything a pass produces for one socket leaves in
/// one write.
///
/// Threads   post, stop: any thread. Everything else: the loop's thread (role()), or any thread
///           before run() starts.
/// Errors    kBusy from post when `tasks_max` tasks wait; kClosed after stop.
/// Lifetime  the loop outlives everything registered with it; pass-end work and timers are
///           withdrawn by their owners before they die.
/// Limits    tasks must not block: no sync, no name resolution, no waiting for another thread.
class EventLoop {
public:
    struct Options {
        std::string name = "loop";          ///< thread name, at most 15 characters
        std::chrono::microseconds spin{0};  ///< poll that long after the last event before sleeping
        std::uint32_t tasks_max = 1U << 20U;
    };

    static Result<std::unique_ptr<EventLoop>> create(const Options& options);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    /// Runs passes in the calling thread until stop().
    void run();
    /// Starts a thread that runs the loop; join() waits for its end.
    void start_thread();
    void stop();
    void join();

    /// Queues `task` for the loop's thread. Wakes the loop only when it sleeps. Tasks of one thread
    /// run in the order posted. Tasks still queued at stop are destroyed, not run.
    Status post(Task task);

    /// Runs `work` at the end of this pass; asking again before that changes nothing.
    void at_pass_end(PassEnd& work) GANTRY_REQUIRES(role_);
    /// Withdraws it.
    void forget(PassEnd& work) GANTRY_REQUIRES(role_);

    /// Time of the current pass: read once, so cheap and the same for all of its work.
    SteadyTime pass_time() const noexcept { return pass_time_; }

    ThreadRole& role() noexcept { return role_; }

    bool in_loop() const noexcept { return role_.held(); }

    /// libevent's loop; for protocol/net only.
    event_base* base() noexcept { return base_; }

private:
    struct Inbox;

    explicit EventLoop(const Options& options);
    void run_pass();
    void run_tasks();

    Options options_;
    ThreadRole role_;
    event_base* base_ = nullptr;
    std::unique_ptr<Inbox> inbox_;
    std::vector<PassEnd*> pass_end_;
    SteadyTime pass_time_{};
    std::thread thread_;
};

/// Calls back in the loop's thread after a delay, once or again and again, until destroyed.
class Timer {
public:
    Timer(EventLoop& loop, Task on_fire);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// (Re)arms; a pending shot is replaced. Loop thread only.
    void start_once(std::chrono::milliseconds delay);
    void start_every(std::chrono::milliseconds period);
    void cancel();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace gantry::net
