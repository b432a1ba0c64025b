// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/server.h"

#include "common/log.h"
#include "common/mutex.h"
#include "protocol/net/socket.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <optional>
#include <sys/socket.h>
#include <utility>

namespace gantry::net {

namespace {

constexpr Logger kLog("net");
constexpr int kAcceptsPerPassMax = 64;
constexpr std::chrono::milliseconds kAcceptRetry{100};
constexpr std::chrono::milliseconds kSweepMin{10};
constexpr std::chrono::milliseconds kSweepMax{1'000};
constexpr std::chrono::milliseconds kDrainPoll{5};
constexpr std::chrono::seconds kWarningPause{10};

// ConnectionId: loop index, place in the loop's table, and a number never used twice.
constexpr unsigned kSlotBits = 20;
constexpr unsigned kSequenceBits = 36;
constexpr std::size_t kLoopsMax = 256;

constexpr std::size_t loop_index_of(ConnectionId id) noexcept {
    return id.value >> (kSlotBits + kSequenceBits);
}

constexpr std::size_t slot_of(ConnectionId id) noexcept {
    return (id.value >> kSequenceBits) & ((1U << kSlotBits) - 1);
}

/// Lets a thread wait until a task has run, or has been destroyed unrun with its loop.
class TaskGate {
public:
    void open(bool was_run) {
        const MutexLock lock(mutex_);
        is_open_ = true;
        was_run_ = was_run_ || was_run;
        changed_.notify_all();
    }

    bool wait() {
        MutexLock lock(mutex_);
        while (!is_open_) {
            lock.wait(changed_);
        }
        return was_run_;
    }

private:
    Mutex mutex_;
    std::condition_variable changed_;
    bool is_open_ GANTRY_GUARDED_BY(mutex_) = false;
    bool was_run_ GANTRY_GUARDED_BY(mutex_) = false;
};

/// Opens the gate when the task that holds it goes.
class TaskTicket {
public:
    explicit TaskTicket(std::shared_ptr<TaskGate> gate) : gate_(std::move(gate)) {}

    TaskTicket(TaskTicket&& other) noexcept = default;
    TaskTicket& operator=(TaskTicket&&) = delete;
    TaskTicket(const TaskTicket&) = delete;
    TaskTicket& operator=(const TaskTicket&) = delete;

    ~TaskTicket() {
        if (gate_ != nullptr) {
            gate_->open(was_run_);
        }
    }

    void mark_run() { was_run_ = true; }

private:
    std::shared_ptr<TaskGate> gate_;
    bool was_run_ = false;
};

/// Runs `work` in the loop's thread and waits; in this thread when the loop does not run.
template <class Work>
void run_and_wait(EventLoop& loop, Work work) {
    if (loop.is_running()) {
        const auto gate = std::make_shared<TaskGate>();
        const Status posted = loop.post([ticket = TaskTicket(gate), &work]() mutable {
            work();
            ticket.mark_run();
        });
        if (gate->wait()) {
            return;
        }
        // Destroyed unrun: the loop ends; its thread may still be in the last pass.
        while (loop.is_running()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    loop.role().adopt();
    work();
}

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
    /// The connections of one loop.
    struct Shard final : ConnectionHandler {
        Shard(State& server, EventLoop& its_loop, std::size_t its_index)
            : state(server), loop(its_loop), index(its_index) {}

        void on_open(Connection& connection) override { state.handler.on_open(connection); }

        void on_frame(const Received& frame) override { state.handler.on_frame(frame); }

        void on_close(Connection& connection, const Error& why) override;
        void add_in_loop(UniqueFd socket);
        void start_in_loop();
        void sweep_in_loop();
        void close_all_in_loop(bool flush);
        void clear_in_loop();
        Connection* find(ConnectionId id);

        State& state;
        EventLoop& loop;
        std::size_t index;
        std::vector<std::unique_ptr<Connection>> slots;
        std::vector<std::uint32_t> free_slots;
        std::uint64_t last_sequence = 0;
        std::unique_ptr<Timer> sweep_timer;
        bool is_stopping = false;
    };

    State(const Options& wanted, ConnectionHandler& receiver)
        : options(wanted), handler(receiver) {}

    EventLoop& accept_loop() { return shards.front()->loop; }

    void start_accepting_in_loop();
    void accept_ready_in_loop();
    void place(UniqueFd socket);
    void pause_accepting_in_loop();
    void resume_accepting_in_loop();
    void stop_accepting_in_loop();
    void connection_gone();
    void warn_in_loop(const std::string& reason);

    static void on_acceptable(evutil_socket_t /*fd*/, short /*what*/, void* context) {
        static_cast<State*>(context)->accept_ready_in_loop();
    }

    Options options;
    ConnectionHandler& handler;
    std::uint16_t port = 0;
    std::vector<std::unique_ptr<Shard>> shards;
    std::atomic<std::uint64_t> count{0};
    std::atomic<bool> is_full{false};  // accepting waits for a connection to go
    std::atomic<bool> is_stopped{false};

    // Of the accept loop's thread.
    UniqueFd listener;

    struct event acceptable {};

    std::unique_ptr<Timer> retry_timer;
    std::size_t next_shard = 0;
    bool is_accepting = false;
    SteadyTime quiet_until{};  // a full server says so now and then, not for each connection
};

void Server::State::Shard::on_close(Connection& connection, const Error& why) {
    state.handler.on_close(connection, why);
    const std::size_t slot = slot_of(connection.id());
    const std::unique_ptr<Connection> dead = std::move(slots[slot]);
    free_slots.push_back(static_cast<std::uint32_t>(slot));
    state.connection_gone();
}

void Server::State::Shard::add_in_loop(UniqueFd socket) {
    if (is_stopping) {
        state.connection_gone();
        return;
    }
    std::size_t slot = slots.size();
    if (free_slots.empty()) {
        slots.emplace_back();
    } else {
        slot = free_slots.back();
        free_slots.pop_back();
    }
    const ConnectionId id((std::uint64_t{index} << (kSlotBits + kSequenceBits)) |
                          (std::uint64_t{slot} << kSequenceBits) | ++last_sequence);
    slots[slot] =
        std::make_unique<Connection>(loop, std::move(socket), id, state.options.connection, *this);
    on_open(*slots[slot]);
}

void Server::State::Shard::start_in_loop() {
    const std::chrono::milliseconds idle = state.options.connection.idle_max;
    sweep_timer = std::make_unique<Timer>(loop, [this] { sweep_in_loop(); });
    sweep_timer->start_every(idle.count() > 0 ? std::clamp(idle / 4, kSweepMin, kSweepMax)
                                              : kSweepMax);
}

void Server::State::Shard::sweep_in_loop() {
    const SteadyTime now = loop.pass_time();
    for (const std::unique_ptr<Connection>& connection : slots) {
        if (connection != nullptr) {
            connection->sweep(now);
        }
    }
}

void Server::State::Shard::close_all_in_loop(bool flush) {
    is_stopping = true;
    for (const std::unique_ptr<Connection>& connection : slots) {
        if (connection != nullptr) {
            connection->close({Errc::kClosed, "the server stops"}, flush);
        }
    }
}

void Server::State::Shard::clear_in_loop() {
    sweep_timer.reset();
    for (std::unique_ptr<Connection>& slot : slots) {
        if (slot != nullptr) {
            slot->abandon();
            state.handler.on_close(*slot, {Errc::kClosed, "the server stops"});
            slot.reset();
            state.connection_gone();
        }
    }
}

Connection* Server::State::Shard::find(ConnectionId id) {
    const std::size_t slot = slot_of(id);
    if (slot >= slots.size() || slots[slot] == nullptr || slots[slot]->id() != id) {
        return nullptr;
    }
    return slots[slot].get();
}

void Server::State::start_accepting_in_loop() {
    if (is_stopped) {
        return;
    }
    retry_timer = std::make_unique<Timer>(accept_loop(), [this] { resume_accepting_in_loop(); });
    event_assign(&acceptable,
                 accept_loop().base(),
                 listener.get(),
                 EV_READ | EV_PERSIST,
                 &State::on_acceptable,
                 this);
    resume_accepting_in_loop();
}

void Server::State::pause_accepting_in_loop() {
    if (std::exchange(is_accepting, false)) {
        event_del(&acceptable);
    }
}

void Server::State::resume_accepting_in_loop() {
    if (!is_stopped && !std::exchange(is_accepting, true)) {
        event_add(&acceptable, nullptr);
    }
}

void Server::State::stop_accepting_in_loop() {
    if (retry_timer != nullptr) {
        pause_accepting_in_loop();
        retry_timer.reset();
    }
    listener.reset();
}

void Server::State::accept_ready_in_loop() {
    accept_loop().note_event();
    for (int i = 0; i < kAcceptsPerPassMax; ++i) {
        if (count.load() >= options.connections_max) {
            pause_accepting_in_loop();
            is_full.store(true);
            if (count.load() >= options.connections_max) {
                warn_in_loop("connections_max " + std::to_string(options.connections_max) +
                             " reached");
                return;
            }
            // One went before it could see the flag.
            is_full.store(false);
            resume_accepting_in_loop();
        }
        UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket) {
            place(std::move(socket));
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            warn_in_loop(io_error("accept", errno).detail);
            pause_accepting_in_loop();
            retry_timer->start_once(kAcceptRetry);
            return;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
    }
}

void Server::State::warn_in_loop(const std::string& reason) {
    const SteadyTime now = accept_loop().pass_time();
    if (now >= quiet_until) {
        quiet_until = now + kWarningPause;
        kLog.warn("accept_paused", {{"reason", reason}});
    }
}

void Server::State::place(UniqueFd socket) {
    prepare_tcp(socket.get());
    prepare_congestion_control(socket.get());
    count.fetch_add(1);
    Shard& shard = *shards[next_shard++ % shards.size()];
    if (&shard.loop == &accept_loop()) {
        shard.add_in_loop(std::move(socket));
        return;
    }
    const Status posted =
        shard.loop.post([self = shared_from_this(), &shard, fd = std::move(socket)]() mutable {
            shard.add_in_loop(std::move(fd));
        });
    if (!posted) {
        connection_gone();
    }
}

void Server::State::connection_gone() {
    count.fetch_sub(1);
    if (is_full.exchange(false)) {
        // A loop that has stopped accepts nothing anyway.
        [[maybe_unused]] const Status posted =
            accept_loop().post([self = shared_from_this()] { self->resume_accepting_in_loop(); });
    }
}

Result<std::unique_ptr<Server>> Server::listen(const Options& options,
                                               std::vector<EventLoop*> loops,
                                               ConnectionHandler& handler) {
    GANTRY_ASSERT(!loops.empty() && loops.size() <= kLoopsMax);
    const auto state = std::make_shared<State>(options, handler);
    state->options.connections_max =
        std::min(options.connections_max, std::uint32_t{1} << kSlotBits);
    GANTRY_ASSIGN_OR_RETURN(state->listener, listen_tcp(options.address, options.port));
    state->port = static_cast<std::uint16_t>(host_of(local_address(state->listener.get())).port);
    for (std::size_t i = 0; i < loops.size(); ++i) {
        state->shards.push_back(std::make_unique<State::Shard>(*state, *loops[i], i));
        State::Shard& shard = *state->shards.back();
        GANTRY_TRY(loops[i]->post([state, &shard] {
            if (!state->is_stopped) {
                shard.start_in_loop();
            }
        }));
    }
    GANTRY_TRY(loops.front()->post([state] { state->start_accepting_in_loop(); }));
    return std::unique_ptr<Server>(new Server(state));
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
    stop(std::chrono::milliseconds(0));
}

std::uint16_t Server::port() const noexcept {
    return state_->port;
}

Connection* Server::find(ConnectionId id) {
    const std::size_t index = loop_index_of(id);
    if (index >= state_->shards.size() || !state_->shards[index]->loop.in_loop()) {
        return nullptr;
    }
    return state_->shards[index]->find(id);
}

EventLoop& Server::loop_of(ConnectionId id) {
    const std::size_t index = loop_index_of(id);
    GANTRY_ASSERT(index < state_->shards.size());
    return state_->shards[index]->loop;
}

std::uint64_t Server::connection_count() const noexcept {
    return state_->count.load();
}

void Server::stop(std::chrono::milliseconds drain_limit) {
    if (state_->is_stopped.exchange(true)) {
        return;
    }
    const SteadyTime deadline = std::chrono::steady_clock::now() + drain_limit;
    run_and_wait(state_->accept_loop(), [this] { state_->stop_accepting_in_loop(); });
    for (const std::unique_ptr<State::Shard>& shard : state_->shards) {
        run_and_wait(shard->loop, [&shard] { shard->close_all_in_loop(true); });
    }
    while (state_->count.load() > 0 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kDrainPoll);
    }
    for (const std::unique_ptr<State::Shard>& shard : state_->shards) {
        run_and_wait(shard->loop, [&shard] { shard->clear_in_loop(); });
    }
}

}  // namespace gantry::net
