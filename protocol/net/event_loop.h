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
struct evdns_base;

namespace gantry::net {

class BufferPool;

using Task = UniqueFunction<void()>;

/// Work a loop does once at the end of the pass in which it was asked for: flushing what the pass
/// put into a connection, releasing acknowledgements.
class PassEnd {
public:
    PassEnd() = default;
    PassEnd(const PassEnd&) = delete;
    PassEnd& operator=(const PassEnd&) = delete;
    virtual ~PassEnd() = default;
    /// In the loop's thread, once for however often it was asked for in the pass. May ask again.
    virtual void on_pass_end() = 0;

private:
    friend class EventLoop;
    static constexpr std::uint32_t kNotQueued = UINT32_MAX;
    std::uint32_t place_ = kNotQueued;  // in the loop's list
    bool in_running_list_ = false;
};

/// One libevent loop and the thread that runs it. A pass is: wait for events, handle all of them,
/// run posted tasks, run the pass-end work; so everything a pass produces for one socket leaves in
/// one write.
///
///   events -> handlers -> tasks -> pass-end work (flush) -> poll once more -> spin -> sleep
///
/// Threads   post, stop, is_running: any thread. Everything else: the loop's thread (role()). The
///           thread that creates the loop holds the role until run() starts elsewhere; join()
///           takes it back, so that what lives on the loop may be destroyed after it.
/// Network   after a pass that did something the loop polls before it sleeps, and polls on for
///           `spin` while events have lately come faster than that. post() wakes by an eventfd, and
///           only when the loop sleeps. SIGPIPE is blocked in the loop's thread.
/// Errors    kBusy from post when `tasks_max` tasks wait; kClosed after stop.
/// Lifetime  the loop outlives everything registered with it; pass-end work and timers are
///           withdrawn by their owners before they die.
/// Limits    tasks must not block: no sync, no name resolution, no waiting for another thread.
class EventLoop {
public:
    /// How a loop runs.
    struct Options {
        std::string name = "loop";          ///< thread name, at most 15 characters
        std::chrono::microseconds spin{0};  ///< poll that long after the last event before sleeping
        std::uint32_t tasks_max = 1U << 20U;
    };

    /// Makes a loop that does not run yet. kIo: no memory or no descriptor, with the errno text.
    static Result<std::unique_ptr<EventLoop>> create(const Options& options);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    /// Runs passes in the calling thread until stop().
    void run();
    /// Starts a thread that runs the loop; join() waits for its end.
    void start_thread();
    /// Ends run() after the pass under way and does not wait for that. Idempotent.
    void stop();
    /// Waits for the thread of start_thread() to end; without one, returns at once.
    void join();

    /// Between run() or start_thread() and the end of the last pass.
    bool is_running() const noexcept;

    /// Queues `task` for the loop's thread. Wakes the loop only when it sleeps. Tasks of one thread
    /// run in the order posted. Tasks still queued at stop are destroyed, not run.
    Status post(Task task);

    /// Runs `work` at the end of this pass; asking again before that changes nothing. Work asked
    /// for by pass-end work runs in the same pass.
    void at_pass_end(PassEnd& work) GANTRY_REQUIRES(role_);
    /// Withdraws it.
    void forget(PassEnd& work) GANTRY_REQUIRES(role_);
    /// Keeps `object` until the pass is over: for what gives itself up inside its own callback.
    void bury(std::shared_ptr<void> object) GANTRY_REQUIRES(role_);
    /// Keeps `object` until let_go or the loop's end: for work that nobody else owns.
    void keep(std::shared_ptr<void> object) GANTRY_REQUIRES(role_);
    /// Buries it.
    void let_go(const void* object) GANTRY_REQUIRES(role_);

    /// Time of the current pass: read once, so cheap and the same for all of its work. Outside a
    /// pass: now.
    SteadyTime pass_time() const noexcept;

    ThreadRole& role() noexcept GANTRY_THREAD(lock_returned(role_)) { return role_; }

    bool in_loop() const noexcept { return role_.held(); }

    /// libevent's loop; for protocol/net only, as are the following. It has no lock: the loop's
    /// thread only.
    event_base* base() noexcept { return base_; }

    /// Says that this pass had something to do, so that the loop polls before it sleeps.
    void note_event() noexcept { had_event_ = true; }

    /// Receive buffers and output chunks that the loop's connections share.
    BufferPool& buffers() noexcept { return *buffers_; }

    /// The name resolver of this loop, made on first use: /etc/hosts and the name servers of
    /// /etc/resolv.conf, asked without blocking.
    evdns_base* resolver() GANTRY_REQUIRES(role_);

    /// A number no other caller on this loop gets.
    std::uint64_t next_number() GANTRY_REQUIRES(role_) { return ++last_number_; }

private:
    struct Inbox;

    explicit EventLoop(const Options& options);
    Status open();
    void run_pass();
    bool must_poll();
    bool try_fall_asleep();
    void run_tasks(bool slept);
    void run_pass_end();
    void learn_gap();

    Options options_;
    ThreadRole role_;
    event_base* base_ = nullptr;
    evdns_base* resolver_ = nullptr;
    std::unique_ptr<Inbox> inbox_;
    std::unique_ptr<BufferPool> buffers_;
    std::vector<PassEnd*> pass_end_;
    std::vector<PassEnd*> pass_end_running_;
    std::vector<std::shared_ptr<void>> buried_;
    std::vector<std::shared_ptr<void>> kept_;
    std::vector<Task> running_tasks_;
    mutable SteadyTime pass_time_{};
    mutable bool pass_time_known_ = false;
    bool in_pass_ = false;
    bool had_event_ = false;
    bool idle_before_ = false;
    SteadyTime last_event_{};
    std::chrono::nanoseconds usual_gap_{0};  // between passes with events, smoothed
    std::uint64_t last_number_ = 0;
    std::thread thread_;
};

/// Calls back in the loop's thread after a delay, once or again and again, until destroyed. Never
/// early; late by the work of a pass and a few milliseconds. May be destroyed in its own callback.
///
/// Threads   the loop's thread only.
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
