// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/event_loop.h"

#include "common/log.h"
#include "common/unique_fd.h"
#include "protocol/net/buffer_pool.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <future>
#include <mutex>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

namespace gantry::net {

namespace {

constexpr Logger kLog("net");
constexpr int kPassEndRoundsMax = 8;
constexpr std::size_t kTaskRoomKept = 4'096;

void log_libevent(int severity, const char* message) {
    if (severity >= EVENT_LOG_ERR) {
        kLog.error("libevent", {{"message", message}});
    } else if (severity == EVENT_LOG_WARN) {
        kLog.warn("libevent", {{"message", message}});
    }
}

void set_up_libevent_once() {
    static std::once_flag once;
    std::call_once(once, [] {
        evthread_use_pthreads();
        event_set_log_callback(log_libevent);
    });
}

void block_sigpipe() noexcept {
    // sendfile has no MSG_NOSIGNAL.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

struct EventLoop::Inbox {
    enum class Phase : std::uint8_t { kReady, kRunning, kStopped };

    Mutex mutex;
    std::vector<Task> tasks GANTRY_GUARDED_BY(mutex);
    bool is_asleep GANTRY_GUARDED_BY(mutex) = false;
    bool is_closed GANTRY_GUARDED_BY(mutex) = false;
    std::atomic<bool> has_tasks{false};
    std::atomic<bool> stop_asked{false};
    std::atomic<Phase> phase{Phase::kReady};
    UniqueFd wake_fd;

    struct event wake_event {};

    void wake() const noexcept {
        const std::uint64_t one = 1;
        // Only a full counter makes this fail, and a full counter wakes.
        [[maybe_unused]] const ssize_t written = ::write(wake_fd.get(), &one, sizeof one);
    }

    static void on_wake(evutil_socket_t fd, short /*what*/, void* /*context*/) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(fd, &count, sizeof count);
    }
};

Result<std::unique_ptr<EventLoop>> EventLoop::create(const Options& options) {
    set_up_libevent_once();
    std::unique_ptr<EventLoop> loop(new EventLoop(options));
    GANTRY_TRY(loop->open());
    return loop;
}

EventLoop::EventLoop(const Options& options)
    : options_(options),
      inbox_(std::make_unique<Inbox>()),
      buffers_(std::make_unique<BufferPool>()) {
    role_.adopt();
}

Status EventLoop::open() {
    event_config* const config = event_config_new();
    if (config == nullptr) {
        return Error{Errc::kIo, "event loop: no memory"};
    }
    // Other threads reach the loop through the inbox alone, so libevent needs no lock.
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    base_ = event_base_new_with_config(config);
    event_config_free(config);
    if (base_ == nullptr) {
        return io_error("event loop", errno);
    }
    inbox_->wake_fd.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!inbox_->wake_fd) {
        return io_error("eventfd", errno);
    }
    event_assign(&inbox_->wake_event,
                 base_,
                 inbox_->wake_fd.get(),
                 EV_READ | EV_PERSIST,
                 &Inbox::on_wake,
                 nullptr);
    if (event_add(&inbox_->wake_event, nullptr) != 0) {
        return io_error("event loop wake-up", errno);
    }
    return ok();
}

EventLoop::~EventLoop() {
    stop();
    join();
    role_.adopt();
    {
        std::vector<Task> unrun;
        {
            MutexLock lock(inbox_->mutex);
            unrun.swap(inbox_->tasks);
        }
    }
    { const std::vector<std::shared_ptr<void>> dead = std::exchange(kept_, {}); }
    while (!buried_.empty()) {
        const std::vector<std::shared_ptr<void>> dead = std::exchange(buried_, {});
    }
    if (resolver_ != nullptr) {
        evdns_base_free(resolver_, 1);
    }
    if (base_ != nullptr) {
        if (event_initialized(&inbox_->wake_event) != 0) {
            event_del(&inbox_->wake_event);
        }
        event_base_free(base_);
    }
}

void EventLoop::run() {
    role_.adopt();
    block_sigpipe();
    inbox_->phase.store(Inbox::Phase::kRunning);
    while (!inbox_->stop_asked.load(std::memory_order_acquire)) {
        run_pass();
    }
    std::vector<Task> unrun;
    {
        MutexLock lock(inbox_->mutex);
        unrun.swap(inbox_->tasks);
    }
    unrun.clear();
    inbox_->phase.store(Inbox::Phase::kStopped);
}

void EventLoop::start_thread() {
    GANTRY_ASSERT(!thread_.joinable());
    inbox_->phase.store(Inbox::Phase::kRunning);
    std::promise<void> taken_over;
    std::future<void> is_taken_over = taken_over.get_future();
    thread_ = std::thread([this, &taken_over] {
        set_thread_name(options_.name.substr(0, 15).c_str());
        role_.adopt();
        taken_over.set_value();
        run();
    });
    // The caller is outside from here on: it must not pass for the loop's thread any more.
    is_taken_over.wait();
}

void EventLoop::stop() {
    {
        MutexLock lock(inbox_->mutex);
        inbox_->is_closed = true;
    }
    inbox_->stop_asked.store(true, std::memory_order_release);
    inbox_->wake();
}

void EventLoop::join() {
    if (thread_.joinable()) {
        thread_.join();
        role_.adopt();
    }
}

bool EventLoop::is_running() const noexcept {
    return inbox_->phase.load() == Inbox::Phase::kRunning;
}

Status EventLoop::post(Task task) {
    bool must_wake = false;
    {
        MutexLock lock(inbox_->mutex);
        if (inbox_->is_closed) {
            return Error{Errc::kClosed, "event loop " + options_.name + " has stopped"};
        }
        if (inbox_->tasks.size() >= options_.tasks_max) {
            return Error{Errc::kBusy,
                         "event loop " + options_.name + ": tasks_max " +
                             std::to_string(options_.tasks_max) + " tasks wait"};
        }
        inbox_->tasks.push_back(std::move(task));
        inbox_->has_tasks.store(true, std::memory_order_relaxed);
        // Read under the lock: whoever held the role before the loop's thread sees it change.
        must_wake = inbox_->is_asleep && !role_.held();
        if (must_wake) {
            inbox_->is_asleep = false;
        }
    }
    if (must_wake) {
        inbox_->wake();
    }
    return ok();
}

void EventLoop::at_pass_end(PassEnd& work) {
    if (work.place_ == PassEnd::kNotQueued) {
        work.place_ = static_cast<std::uint32_t>(pass_end_.size());
        work.in_running_list_ = false;
        pass_end_.push_back(&work);
    }
}

void EventLoop::forget(PassEnd& work) {
    if (work.place_ != PassEnd::kNotQueued) {
        std::vector<PassEnd*>& list = work.in_running_list_ ? pass_end_running_ : pass_end_;
        list[work.place_] = nullptr;
        work.place_ = PassEnd::kNotQueued;
    }
}

void EventLoop::keep(std::shared_ptr<void> object) {
    kept_.push_back(std::move(object));
}

void EventLoop::let_go(const void* object) {
    for (auto at = kept_.begin(); at != kept_.end(); ++at) {
        if (at->get() == object) {
            bury(std::move(*at));
            kept_.erase(at);
            return;
        }
    }
}

void EventLoop::bury(std::shared_ptr<void> object) {
    buried_.push_back(std::move(object));
}

SteadyTime EventLoop::pass_time() const noexcept {
    if (!pass_time_known_) {
        pass_time_ = std::chrono::steady_clock::now();
        pass_time_known_ = in_pass_;
    }
    return pass_time_;
}

evdns_base* EventLoop::resolver() {
    if (resolver_ == nullptr) {
        resolver_ = evdns_base_new(base_, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        if (resolver_ != nullptr &&
            evdns_base_resolv_conf_parse(resolver_, DNS_OPTIONS_ALL, "/etc/resolv.conf") != 0) {
            evdns_base_load_hosts(resolver_, "/etc/hosts");
        }
    }
    return resolver_;
}

void EventLoop::run_pass() {
    bool poll = must_poll();
    if (poll && idle_before_) {
        ::sched_yield();
    }
    poll = poll || !try_fall_asleep();
    in_pass_ = true;
    pass_time_known_ = false;
    had_event_ = false;
    event_base_loop(base_, poll ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
    run_tasks(!poll);
    run_pass_end();
    while (!buried_.empty()) {
        const std::vector<std::shared_ptr<void>> dead = std::exchange(buried_, {});
    }
    if (had_event_) {
        learn_gap();
    }
    idle_before_ = !had_event_;
    in_pass_ = false;
    pass_time_known_ = false;
}

bool EventLoop::must_poll() {
    if (had_event_ || !pass_end_.empty()) {
        return true;
    }
    if (options_.spin.count() == 0 || usual_gap_ > 4 * options_.spin) {
        return false;
    }
    return std::chrono::steady_clock::now() - last_event_ < options_.spin;
}

void EventLoop::learn_gap() {
    if (options_.spin.count() == 0) {
        return;
    }
    // One long pause must not outweigh many short ones, and sleeping itself lengthens the gaps.
    const std::chrono::nanoseconds longest = 16 * options_.spin;
    const std::chrono::nanoseconds gap = std::min(longest, pass_time() - last_event_);
    usual_gap_ += (gap - usual_gap_) / 8;
    last_event_ = pass_time();
}

bool EventLoop::try_fall_asleep() {
    MutexLock lock(inbox_->mutex);
    inbox_->is_asleep = inbox_->tasks.empty() && !inbox_->is_closed;
    return inbox_->is_asleep;
}

void EventLoop::run_tasks(bool slept) {
    if (!slept && !inbox_->has_tasks.load(std::memory_order_relaxed)) {
        return;
    }
    {
        MutexLock lock(inbox_->mutex);
        inbox_->is_asleep = false;
        running_tasks_.swap(inbox_->tasks);
        inbox_->has_tasks.store(false, std::memory_order_relaxed);
    }
    if (running_tasks_.empty()) {
        return;
    }
    had_event_ = true;
    for (Task& task : running_tasks_) {
        task();
        task.reset();
    }
    running_tasks_.clear();
    if (running_tasks_.capacity() > kTaskRoomKept) {
        std::vector<Task>().swap(running_tasks_);
    }
}

void EventLoop::run_pass_end() {
    for (int round = 0; round < kPassEndRoundsMax && !pass_end_.empty(); ++round) {
        pass_end_running_.swap(pass_end_);
        for (PassEnd* work : pass_end_running_) {
            if (work != nullptr) {
                work->in_running_list_ = true;
            }
        }
        for (std::size_t i = 0; i < pass_end_running_.size(); ++i) {
            PassEnd* const work = pass_end_running_[i];
            if (work != nullptr) {
                pass_end_running_[i] = nullptr;
                work->place_ = PassEnd::kNotQueued;
                work->on_pass_end();
            }
        }
        pass_end_running_.clear();
    }
}

struct Timer::State {
    EventLoop* loop = nullptr;
    Task on_fire;

    struct event timeout {};

    SteadyTime due{};
    std::chrono::milliseconds period{0};
    bool* destroyed = nullptr;  // set while the callback runs

    void arm(std::chrono::nanoseconds delay) {
        const auto us = std::max<std::int64_t>(
            0, std::chrono::duration_cast<std::chrono::microseconds>(delay).count());
        const timeval wait{.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
        event_add(&timeout, &wait);
    }

    void start(std::chrono::milliseconds delay) {
        loop->role().assert_held();
        due = std::chrono::steady_clock::now() + delay;
        arm(delay);
    }

    void fire() {
        // libevent's clock is coarse: it may be a few milliseconds ahead of the due time.
        const std::chrono::nanoseconds early = due - std::chrono::steady_clock::now();
        if (early.count() > 0) {
            arm(std::max<std::chrono::nanoseconds>(early, std::chrono::milliseconds(1)));
            return;
        }
        if (period.count() > 0) {
            start(period);
        }
        bool is_destroyed = false;
        destroyed = &is_destroyed;
        Task running = std::move(on_fire);
        running();
        if (!is_destroyed) {
            destroyed = nullptr;
            on_fire = std::move(running);
        }
    }

    static void on_timeout(evutil_socket_t /*fd*/, short /*what*/, void* context) {
        static_cast<State*>(context)->fire();
    }
};

Timer::Timer(EventLoop& loop, Task on_fire) : state_(std::make_unique<State>()) {
    state_->loop = &loop;
    state_->on_fire = std::move(on_fire);
    event_assign(&state_->timeout, loop.base(), -1, 0, &State::on_timeout, state_.get());
}

Timer::~Timer() {
    cancel();
    if (state_->destroyed != nullptr) {
        *state_->destroyed = true;
    }
}

void Timer::start_once(std::chrono::milliseconds delay) {
    state_->period = std::chrono::milliseconds(0);
    state_->start(delay);
}

void Timer::start_every(std::chrono::milliseconds period) {
    state_->period = std::max(period, std::chrono::milliseconds(1));
    state_->start(state_->period);
}

void Timer::cancel() {
    state_->loop->role().assert_held();
    event_del(&state_->timeout);
}

}  // namespace gantry::net
