// SPDX-License-Identifier: Apache-2.0
#include "broker/serving/serving.h"

#include "broker/call.h"
#include "broker/context.h"
#include "broker/flow/memory_limit.h"
#include "broker/loop_state.h"
#include "broker/serving/serving_handlers.h"
#include "broker/trace_topic.h"
#include "common/log.h"
#include "storage/pop/pops.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::chrono::milliseconds kDrainLimit{2'000};
constexpr std::chrono::milliseconds kRoleChangeDrainLimit{50};
constexpr std::chrono::milliseconds kStepLimit{5'000};
constexpr std::chrono::milliseconds kRoleChangeLimit{50};
constexpr std::chrono::milliseconds kLookAgain{5};
constexpr std::chrono::milliseconds kExpiryPeriod{10'000};
constexpr std::chrono::milliseconds kStallPeriod{500};

}  // namespace

Serving::Serving(Private /*unused*/, const Parts& parts)
    : options_(parts.options),
      clock_(parts.clock),
      metrics_(parts.metrics),
      replica_(parts.replica),
      store_(parts.store),
      place_(parts.place),
      is_slave_(parts.replica.role() == ReplicaRole::kSlave),
      gauges_(parts.metrics.mark()) {}

Serving::~Serving() {
    stop(Ending::kRoleChange);
    metrics_.remove_gauges(gauges_);
    // What lives on the loops goes before them, in the thread that joined them.
    vip_server_.reset();
    server_.reset();
    if (handlers_) {
        handlers_->close();
    }
    if (context_) {
        context_->pool.stop();
    }
    loop_states_.clear();
}

Result<std::unique_ptr<Serving>> Serving::start(const Parts& parts) {
    auto serving = std::make_unique<Serving>(Private{}, parts);
    GANTRY_TRY(serving->open());
    return serving;
}

Status Serving::open() {
    GANTRY_TRY(open_loops());
    context_ = std::make_unique<Context>(options_, clock_, metrics_);
    context_->start_ms = clock_.wall_ms();
    context_->replica = &replica_;
    context_->address = place_.address().text;
    context_->store_host = place_.address().host;
    context_->store = &store_;
    context_->locks.set_state(store_.state());
    handlers_ = std::make_unique<Handlers>(*context_);
    for (std::size_t i = 0; i < loops_.size(); ++i) {
        loop_states_.push_back(std::make_unique<LoopState>(
            *context_, *loops_[i], i, LoopState::Readers{handlers_->pull, handlers_->pops}));
        context_->loops.push_back(loop_states_.back().get());
    }
    GANTRY_TRY(open_services());
    GANTRY_TRY(listen());
    store_.start_cold_reads();
    add_gauges();
    run();
    return ok();
}

Status Serving::open_loops() {
    for (std::int64_t i = 0; i < options_.loop_count; ++i) {
        net::EventLoop::Options options;
        options.name = "broker-" + std::to_string(i);
        options.spin = std::chrono::microseconds(options_.loop_spin_us);
        GANTRY_ASSIGN_OR_RETURN(std::unique_ptr<net::EventLoop> loop,
                                net::EventLoop::create(options));
        loops_.push_back(std::move(loop));
    }
    return ok();
}

Status Serving::listen() {
    std::vector<net::EventLoop*> loops;
    for (const auto& loop : loops_) {
        loops.push_back(loop.get());
    }
    net::Server::Options options;
    options.address = options_.base.listen_address;
    options.port = place_.port();
    options.connections_max = static_cast<std::uint32_t>(options_.connections_max);
    options.connection.frame.frame_bytes_max = frame_bytes_max(options_);
    options.connection.output_bytes_max =
        static_cast<std::uint64_t>(options_.connection_output_bytes_max);
    options.connection.memory = &context_->memory;
    options.connection.idle_max = std::chrono::milliseconds(options_.connection_idle_ms);
    GANTRY_ASSIGN_OR_RETURN(server_, net::Server::listen(options, loops, *this));
    if (options_.listen_vip && options_.base.listen_port > 2) {
        options.port = static_cast<std::uint16_t>(options.port - 2);
        Result<std::unique_ptr<net::Server>> vip = net::Server::listen(options, loops, *this);
        if (vip) {
            vip_server_ = std::move(vip).value();
        } else {
            kLog.warn("no_vip_port", {{"error", vip.error()}});
        }
    }
    return ok();
}

/// On a slave the services that write are there and do nothing: nobody's request reaches them.
Status Serving::open_services() {
    handlers_->registrar = std::make_unique<Registrar>(*context_, *loops_[0]);
    context_->registrar = handlers_->registrar.get();
    handlers_->delay = std::make_unique<DelayService>(*context_, *loop_states_[0]);
    handlers_->timers = std::make_unique<TimerService>(*context_, *loop_states_[0]);
    context_->timers = handlers_->timers.get();
    handlers_->transaction_checker =
        std::make_unique<TransactionChecker>(*context_, *loop_states_[0]);
    context_->transaction_checker = handlers_->transaction_checker.get();
    context_->transactions = &handlers_->transactions;
    context_->pops = &handlers_->pops;
    context_->shares = &handlers_->shares;
    handlers_->creator.reload_limits();
    return is_slave_ ? ok() : open_writers();
}

Status Serving::open_writers() {
    GANTRY_TRY(handlers_->delay->open(handlers_->creator));
    GANTRY_TRY(handlers_->timers->open(handlers_->creator));
    GANTRY_TRY(handlers_->transactions.open(*loop_states_[0]));
    handlers_->transaction_checker->open();
    GANTRY_TRY(handlers_->reply.open(*loop_states_[0]));
    if (options_.trace_topic) {
        constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
        GANTRY_TRY(handlers_->creator.ensure(*loop_states_[0], kTraceTopic, 1, kReadWrite));
    }
    handlers_->pops.open();
    handlers_->shares.open(*loop_states_[0]);
    return ok();
}

void Serving::run() {
    is_running_ = true;
    handlers_->expiry = std::make_unique<net::Timer>(
        *loops_[0], [this] { handlers_->group.expire(*loop_states_[0]); });
    handlers_->expiry->start_every(kExpiryPeriod);
    handlers_->stalls = std::make_unique<net::Timer>(
        *loops_[0], [this] { handlers_->group.drop_stalled(*loop_states_[0]); });
    handlers_->stalls->start_every(kStallPeriod);
    handlers_->registrar->start();
    if (!is_slave_) {
        handlers_->delay->start();
        handlers_->timers->start();
        handlers_->transaction_checker->start();
        handlers_->pops.start();
        handlers_->shares.start();
    }
    for (const auto& loop : loops_) {
        loop->start_thread();
    }
}

void Serving::on_store_progress() {
    for (const auto& loop : loop_states_) {
        loop->on_store_progress();
    }
}

void Serving::wait_for_registration(std::chrono::milliseconds limit) const {
    const SteadyTime deadline = clock_.steady() + limit;
    while (!handlers_->registrar->is_registered() && clock_.steady() < deadline) {
        std::this_thread::sleep_for(kLookAgain);
    }
}

std::string Serving::why_not_ready() const {
    if (context_->is_stopping.load()) {
        return "stopping";
    }
    return handlers_->registrar->is_registered() ? "" : "registered with no nameserver";
}

void Serving::run_on(LoopState& loop, const std::function<void()>& work) const {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> finished = done->get_future();
    loop.post([work, done] {
        work();
        done->set_value();
    });
    finished.wait_for(kStepLimit);
}

void Serving::settle(Ending ending) {
    if (ending == Ending::kClean) {
        auto unregistered = std::make_shared<std::promise<void>>();
        std::future<void> finished = unregistered->get_future();
        handlers_->registrar->unregister([unregistered] { unregistered->set_value(); });
        finished.wait_for(kStepLimit);
    }
    context_->pool.stop();
    store_.stop_cold_reads();
    stop_services();
    answer_pending(ending);
}

void Serving::stop_services() {
    handlers_->timers->stop();
    run_on(*loop_states_[0], [this] {
        if (!is_slave_) {
            handlers_->delay->stop();
            handlers_->transaction_checker->stop();
            handlers_->pops.stop();
            handlers_->shares.stop();
        }
        handlers_->expiry->cancel();
        handlers_->stalls->cancel();
    });
}

void Serving::answer_pending(Ending ending) {
    const auto limit = ending == Ending::kClean ? kStepLimit : kRoleChangeLimit;
    const SteadyTime deadline = clock_.steady() + limit;
    for (const auto& loop : loop_states_) {
        bool is_pending = true;
        while (is_pending && clock_.steady() < deadline) {
            run_on(*loop, [&loop, &is_pending] {
                loop->answer_all();
                is_pending = loop->has_pending_acks();
            });
            if (is_pending) {
                std::this_thread::sleep_for(kLookAgain);
            }
        }
    }
}

void Serving::stop(Ending ending) {
    if (!std::exchange(is_running_, false)) {
        return;
    }
    context_->is_stopping.store(true);
    settle(ending);
    const auto limit = ending == Ending::kClean ? kDrainLimit : kRoleChangeDrainLimit;
    if (vip_server_) {
        vip_server_->stop(limit);
    }
    server_->stop(limit);
    for (const auto& loop : loops_) {
        loop->stop();
    }
    for (const auto& loop : loops_) {
        loop->join();
    }
    if (is_slave_ || ending != Ending::kClean || !store_.read_only_reason().empty()) {
        return;
    }
    if (const Status written = store_.pops().write(storage::Pops::What::kAll); !written) {
        kLog.warn("pops_not_written", {{"error", written.error()}});
    }
}

void Serving::on_open(net::Connection& connection) {
    const auto at = std::find_if(loop_states_.begin(), loop_states_.end(), [&](const auto& l) {
        return &l->loop() == &connection.loop();
    });
    Peer& peer = (*at)->add_peer(connection);
    // The loop state owns the peer; the connection only points to it.
    connection.set_context(std::shared_ptr<void>(std::shared_ptr<void>(), &peer));
    context_->counters.connections.fetch_add(1, std::memory_order_relaxed);
}

void Serving::on_frame(const net::Received& frame) {
    if (frame.header.is_response) {
        return;
    }
    Peer& peer = *frame.connection.context<Peer>();
    Call call{*context_, *peer.loop, peer, frame, net::reply_to(frame)};
    if (const auto refusal = refuses_for_memory(*context_, frame.header.request())) {
        context_->counters.flow.memory_refused.add();
        refuse(call, *refusal, stock_memory_code(frame.header.request()));
        return;
    }
    handlers_->dispatcher.dispatch(call);
}

void Serving::on_close(net::Connection& connection, const Error& why) {
    Peer& peer = *connection.context<Peer>();
    LoopState& loop = *peer.loop;
    const PeerId id = peer.id;
    kLog.debug("connection_closed", {{"peer", connection.peer()}, {"reason", why}});
    loop.remove_peer(id);
    handlers_->group.connection_closed(loop, id);
    if (!is_slave_) {
        handlers_->shares.connection_closed(id);
    }
    context_->counters.connections.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace gantry::broker
