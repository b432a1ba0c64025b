// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"

#include "broker/address.h"
#include "broker/assignment/share_service.h"
#include "broker/call.h"
#include "broker/context.h"
#include "broker/delivery/delay_service.h"
#include "broker/dispatcher.h"
#include "broker/flow/flow_handler.h"
#include "broker/flow/memory_limit.h"
#include "broker/handlers/describe_handler.h"
#include "broker/handlers/group_admin_handler.h"
#include "broker/handlers/group_handler.h"
#include "broker/handlers/message_handler.h"
#include "broker/handlers/number_handler.h"
#include "broker/handlers/offset_handler.h"
#include "broker/handlers/pull_handler.h"
#include "broker/handlers/send_back_handler.h"
#include "broker/handlers/send_handler.h"
#include "broker/handlers/topic_handler.h"
#include "broker/handlers/transaction_handler.h"
#include "broker/loop_state.h"
#include "broker/order/parked_key_handler.h"
#include "broker/order/queue_lock_handler.h"
#include "broker/pop/pop_handler.h"
#include "broker/pop/pop_service.h"
#include "broker/registrar.h"
#include "broker/reply/reply_handler.h"
#include "broker/timers/timer_handler.h"
#include "broker/timers/timer_service.h"
#include "broker/topic_creator.h"
#include "broker/trace_topic.h"
#include "broker/transaction/transaction_checker.h"
#include "broker/transaction/transaction_service.h"
#include "common/log.h"
#include "storage/pop/pops.h"

#include <algorithm>
#include <functional>
#include <future>
#include <thread>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::chrono::milliseconds kDrainLimit{2'000};
constexpr std::chrono::milliseconds kStepLimit{5'000};
constexpr std::chrono::milliseconds kRegistrationWait{2'000};
constexpr std::chrono::milliseconds kLookAgain{5};
constexpr std::chrono::milliseconds kExpiryPeriod{10'000};
constexpr std::chrono::milliseconds kStallPeriod{500};

}  // namespace

/// The handlers and what only they and the broker share.
struct Broker::Handlers {
    explicit Handlers(Context& context)
        : creator(context),
          send(context, creator),
          pull(context),
          offset(context),
          topic(context, creator),
          group(context, creator),
          group_admin(context, creator),
          message(context),
          send_back(context, creator),
          queue_lock(context),
          parked_key(context),
          transaction(context),
          timer(context),
          describe(context),
          flow(context, creator),
          numbers(context),
          reply(context, creator),
          pops(context, creator),
          pop(context, pops),
          shares(context),
          transactions(context, creator) {
        send.add_to(dispatcher);
        pull.add_to(dispatcher);
        offset.add_to(dispatcher);
        topic.add_to(dispatcher);
        group.add_to(dispatcher);
        group_admin.add_to(dispatcher);
        message.add_to(dispatcher);
        send_back.add_to(dispatcher);
        queue_lock.add_to(dispatcher);
        parked_key.add_to(dispatcher);
        transaction.add_to(dispatcher);
        timer.add_to(dispatcher);
        describe.add_to(dispatcher);
        pop.add_to(dispatcher);
        shares.add_to(dispatcher);
        flow.add_to(dispatcher);
        numbers.add_to(dispatcher);
        reply.add_to(dispatcher);
    }

    Dispatcher dispatcher;
    TopicCreator creator;
    SendHandler send;
    PullHandler pull;
    OffsetHandler offset;
    TopicHandler topic;
    GroupHandler group;
    GroupAdminHandler group_admin;
    MessageHandler message;
    SendBackHandler send_back;
    QueueLockHandler queue_lock;
    ParkedKeyHandler parked_key;
    TransactionHandler transaction;
    TimerHandler timer;
    DescribeHandler describe;
    FlowHandler flow;
    NumberHandler numbers;
    ReplyHandler reply;
    PopService pops;
    PopHandler pop;
    ShareService shares;
    TransactionService transactions;
    std::unique_ptr<TransactionChecker> transaction_checker;
    std::unique_ptr<DelayService> delay;
    std::unique_ptr<TimerService> timers;
    std::unique_ptr<Registrar> registrar;
    std::unique_ptr<net::Timer> expiry;
    std::unique_ptr<net::Timer> stalls;
};

Broker::Broker(Private /*unused*/, const BrokerOptions& options, Clock& clock, FileSystem& files)
    : options_(options), clock_(clock), files_(files) {}

Broker::~Broker() {
    stop();
    // What lives on the loops goes before them, in the thread that joined them.
    http_.reset();
    vip_server_.reset();
    server_.reset();
    if (handlers_) {
        handlers_->expiry.reset();
        handlers_->stalls.reset();
        handlers_->registrar.reset();
        handlers_->delay.reset();
        handlers_->timers.reset();
        handlers_->transaction_checker.reset();
        handlers_->pops.close();
        handlers_->shares.close();
    }
    if (context_) {
        context_->pool.stop();
    }
    loop_states_.clear();
}

Result<std::unique_ptr<Broker>> Broker::start(const BrokerOptions& options,
                                              Clock& clock,
                                              FileSystem& files) {
    GANTRY_TRY(check_options(options));
    auto broker = std::make_unique<Broker>(Private{}, options, clock, files);
    GANTRY_TRY(broker->open());
    return broker;
}

Status Broker::open() {
    GANTRY_TRY(open_loops());
    context_ = std::make_unique<Context>(options_, clock_, metrics_);
    context_->start_ms = clock_.wall_ms();
    handlers_ = std::make_unique<Handlers>(*context_);
    for (std::size_t i = 0; i < loops_.size(); ++i) {
        loop_states_.push_back(std::make_unique<LoopState>(
            *context_, *loops_[i], i, LoopState::Readers{handlers_->pull, handlers_->pops}));
        context_->loops.push_back(loop_states_.back().get());
    }
    GANTRY_TRY(listen());
    GANTRY_TRY(open_store());
    GANTRY_TRY(open_http());
    add_gauges();
    start_serving();
    return ok();
}

Status Broker::open_loops() {
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

Status Broker::listen() {
    std::vector<net::EventLoop*> loops;
    for (const auto& loop : loops_) {
        loops.push_back(loop.get());
    }
    net::Server::Options options;
    options.address = options_.base.listen_address;
    options.port = static_cast<std::uint16_t>(options_.base.listen_port);
    options.connections_max = static_cast<std::uint32_t>(options_.connections_max);
    options.connection.frame.frame_bytes_max = frame_bytes_max(options_);
    options.connection.output_bytes_max =
        static_cast<std::uint64_t>(options_.connection_output_bytes_max);
    options.connection.memory = &context_->memory;
    options.connection.idle_max = std::chrono::milliseconds(options_.connection_idle_ms);
    GANTRY_ASSIGN_OR_RETURN(server_, net::Server::listen(options, loops, *this));
    GANTRY_ASSIGN_OR_RETURN(
        const Address address,
        choose_address(options_.advertise_host, options_.base.listen_address, server_->port()));
    context_->address = address.text;
    context_->store_host = address.host;
    if (options_.listen_vip && options.port > 2) {
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

Status Broker::open_store() {
    GANTRY_ASSIGN_OR_RETURN(
        storage::Store::Opened opened,
        storage::Store::open(
            files_, clock_, metrics_, store_options(options_, context_->store_host)));
    store_ = std::move(opened.store);
    context_->store = store_.get();
    context_->locks.set_state(store_->state());
    store_->on_progress([this] {
        for (const auto& loop : loop_states_) {
            loop->on_store_progress();
        }
    });
    handlers_->registrar = std::make_unique<Registrar>(*context_, *loops_[0]);
    context_->registrar = handlers_->registrar.get();
    handlers_->delay = std::make_unique<DelayService>(*context_, *loop_states_[0]);
    GANTRY_TRY(handlers_->delay->open(handlers_->creator));
    handlers_->timers = std::make_unique<TimerService>(*context_, *loop_states_[0]);
    context_->timers = handlers_->timers.get();
    GANTRY_TRY(handlers_->timers->open(handlers_->creator));
    handlers_->transaction_checker =
        std::make_unique<TransactionChecker>(*context_, *loop_states_[0]);
    context_->transaction_checker = handlers_->transaction_checker.get();
    context_->transactions = &handlers_->transactions;
    GANTRY_TRY(handlers_->transactions.open(*loop_states_[0]));
    handlers_->transaction_checker->open();
    handlers_->creator.reload_limits();
    GANTRY_TRY(handlers_->reply.open(*loop_states_[0]));
    if (options_.trace_topic) {
        constexpr std::int32_t kReadWrite = storage::perm::kRead | storage::perm::kWrite;
        GANTRY_TRY(handlers_->creator.ensure(*loop_states_[0], kTraceTopic, 1, kReadWrite));
    }
    context_->pops = &handlers_->pops;
    handlers_->pops.open();
    context_->shares = &handlers_->shares;
    handlers_->shares.open(*loop_states_[0]);
    return ok();
}

Status Broker::open_http() {
    net::HttpServer::Options options;
    options.address = options_.base.http_address;
    options.port = static_cast<std::uint16_t>(options_.base.http_port);
    GANTRY_ASSIGN_OR_RETURN(
        http_, net::HttpServer::listen(options, metrics_, [this] { return why_not_ready(); }));
    return ok();
}

std::string Broker::why_not_ready() const {
    if (context_->is_stopping.load()) {
        return "stopping";
    }
    if (std::string reason = store_->read_only_reason(); !reason.empty()) {
        return "store takes no writes: " + reason;
    }
    return handlers_->registrar->is_registered() ? "" : "registered with no nameserver";
}

void Broker::add_gauges() {
    metrics_.gauge("gantry_broker_parked_pulls", "Pulls waiting for messages.", [this] {
        std::size_t count = 0;
        for (const auto& loop : loop_states_) {
            count += loop->long_poll().count();
        }
        return static_cast<double>(count);
    });
    metrics_.gauge("gantry_broker_parked_pops", "Pops waiting for messages.", [this] {
        std::size_t count = 0;
        for (const auto& loop : loop_states_) {
            count += loop->pop_parking().count();
        }
        return static_cast<double>(count);
    });
    metrics_.gauge("gantry_broker_pop_in_flight", "Popped messages not acknowledged.", [this] {
        return static_cast<double>(store_->pops().table().size().messages);
    });
    metrics_.gauge("gantry_broker_pop_leases", "Runs of such messages.", [this] {
        return static_cast<double>(store_->pops().table().size().leases);
    });
    metrics_.gauge(
        "gantry_broker_memory_bytes",
        "Held for requests, answers and what waits; see limits.memory_bytes_max.",
        [this] { return static_cast<double>(context_->memory.used() + parked_bytes(*context_)); });
    metrics_.gauge("gantry_broker_flow_clients", "Clients that a limit of rates counts.", [this] {
        return static_cast<double>(context_->flow.client_count());
    });
    metrics_.gauge("gantry_broker_group_members", "Members of consumer groups.", [this] {
        return static_cast<double>(context_->groups.member_count());
    });
    metrics_.gauge("gantry_broker_delayed_waiting", "Delayed messages that wait.", [this] {
        return static_cast<double>(store_->timers().waiting());
    });
    metrics_.gauge("gantry_broker_delayed_late_ms",
                   "How much later than due the last delayed messages were stored.",
                   [this] { return static_cast<double>(handlers_->timers->late_ms()); });
    metrics_.gauge("gantry_broker_transactions_open", "Transactions without an outcome.", [this] {
        return static_cast<double>(store_->transactions().table().size());
    });
    metrics_.gauge(
        "gantry_broker_transaction_age_max_ms", "Since the first of them was stored.", [this] {
            const auto oldest = store_->transactions().table().oldest();
            return oldest ? static_cast<double>(clock_.wall_ms() - oldest->store_ms) : 0;
        });
    metrics_.gauge("gantry_broker_producer_queues",
                   "Producers' queues whose numbers are remembered.",
                   [this] { return static_cast<double>(store_->numbered_queues()); });
    metrics_.gauge("gantry_broker_registered", "1 when a nameserver knows this broker.", [this] {
        return handlers_->registrar->is_registered() ? 1.0 : 0.0;
    });
    metrics_.gauge("gantry_broker_writable", "1 while the store takes writes.", [this] {
        return store_->read_only_reason().empty() ? 1.0 : 0.0;
    });
}

void Broker::start_serving() {
    is_running_ = true;
    handlers_->expiry = std::make_unique<net::Timer>(
        *loops_[0], [this] { handlers_->group.expire(*loop_states_[0]); });
    handlers_->expiry->start_every(kExpiryPeriod);
    handlers_->stalls = std::make_unique<net::Timer>(
        *loops_[0], [this] { handlers_->group.drop_stalled(*loop_states_[0]); });
    handlers_->stalls->start_every(kStallPeriod);
    handlers_->registrar->start();
    handlers_->delay->start();
    handlers_->timers->start();
    handlers_->transaction_checker->start();
    handlers_->pops.start();
    handlers_->shares.start();
    for (const auto& loop : loops_) {
        loop->start_thread();
    }
    http_->start();
    wait_for_registration();
    kLog.info("serving",
              {{"address", context_->address},
               {"cluster", options_.cluster},
               {"broker", options_.name},
               {"flush", options_.store_flush}});
}

void Broker::wait_for_registration() const {
    const SteadyTime deadline = clock_.steady() + kRegistrationWait;
    while (!handlers_->registrar->is_registered() && clock_.steady() < deadline) {
        std::this_thread::sleep_for(kLookAgain);
    }
}

std::uint16_t Broker::port() const {
    return server_->port();
}

std::uint16_t Broker::http_port() const {
    return http_->port();
}

const std::string& Broker::address() const {
    return context_->address;
}

void Broker::run_on(LoopState& loop, const std::function<void()>& work) const {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> finished = done->get_future();
    loop.post([work, done] {
        work();
        done->set_value();
    });
    finished.wait_for(kStepLimit);
}

void Broker::settle() {
    auto unregistered = std::make_shared<std::promise<void>>();
    std::future<void> finished = unregistered->get_future();
    handlers_->registrar->unregister([unregistered] { unregistered->set_value(); });
    finished.wait_for(kStepLimit);
    context_->pool.stop();
    store_->stop_cold_reads();
    handlers_->timers->stop();
    run_on(*loop_states_[0], [this] {
        handlers_->delay->stop();
        handlers_->transaction_checker->stop();
        handlers_->pops.stop();
        handlers_->shares.stop();
        handlers_->expiry->cancel();
        handlers_->stalls->cancel();
    });
    const SteadyTime deadline = clock_.steady() + kStepLimit;
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

void Broker::stop() {
    if (!std::exchange(is_running_, false)) {
        return;
    }
    kLog.info("stopping", {{"broker", options_.name}});
    context_->is_stopping.store(true);
    http_->stop();
    settle();
    if (vip_server_) {
        vip_server_->stop(kDrainLimit);
    }
    server_->stop(kDrainLimit);
    for (const auto& loop : loops_) {
        loop->stop();
    }
    for (const auto& loop : loops_) {
        loop->join();
    }
    if (const Status written = store_->pops().write(storage::Pops::What::kAll); !written) {
        kLog.warn("pops_not_written", {{"error", written.error()}});
    }
    if (const Status closed = store_->close(); !closed) {
        kLog.error("store_close_failed", {{"error", closed.error()}});
    }
    kLog.info("stopped", {{"broker", options_.name}});
}

void Broker::on_open(net::Connection& connection) {
    const auto at = std::find_if(loop_states_.begin(), loop_states_.end(), [&](const auto& l) {
        return &l->loop() == &connection.loop();
    });
    Peer& peer = (*at)->add_peer(connection);
    // The loop state owns the peer; the connection only points to it.
    connection.set_context(std::shared_ptr<void>(std::shared_ptr<void>(), &peer));
    context_->counters.connections.fetch_add(1, std::memory_order_relaxed);
}

void Broker::on_frame(const net::Received& frame) {
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

void Broker::on_close(net::Connection& connection, const Error& why) {
    Peer& peer = *connection.context<Peer>();
    LoopState& loop = *peer.loop;
    const PeerId id = peer.id;
    kLog.debug("connection_closed", {{"peer", connection.peer()}, {"reason", why}});
    loop.remove_peer(id);
    handlers_->group.connection_closed(loop, id);
    handlers_->shares.connection_closed(id);
    context_->counters.connections.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace gantry::broker
