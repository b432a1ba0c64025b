// SPDX-License-Identifier: Apache-2.0
#include "client/produce/transaction_engine.h"

#include "client/consume/record_reader.h"
#include "client/core/awaited.h"
#include "client/core/heartbeats.h"
#include "client/core/runtime.h"
#include "client/produce/record_writer.h"
#include "common/log.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <utility>

namespace gantry::client {
namespace {

using std::chrono::milliseconds;

constexpr Logger kLog("client");
constexpr std::size_t kIdDigits = 32;

template <class Callback, class... Arguments>
TransactionOutcome call_back(Callback& callback, const Arguments&... arguments) {
    try {
        return callback(arguments...);
    } catch (const std::exception& e) {
        kLog.error("transaction_callback_threw", {{"what", e.what()}});
    } catch (...) {
        kLog.error("transaction_callback_threw", {{"what", "something that is no std::exception"}});
    }
    return TransactionOutcome::kUnknown;
}

Error closed() {
    return Error{Errc::kClosed, "the transaction producer is closed"};
}

}  // namespace

/// A call under way, for close.
class TransactionEngine::Active {
public:
    explicit Active(TransactionEngine& engine) : engine_(engine) {}

    ~Active() { engine_.leave(); }

    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;

private:
    TransactionEngine& engine_;
};

/// While one lives, questions about its transaction are not for the application.
class TransactionEngine::Running {
public:
    Running(TransactionEngine& engine, const std::string& id) : engine_(engine), id_(id) {
        const MutexLock lock(engine_.mutex_);
        engine_.running_.insert(id_);
    }

    ~Running() {
        const MutexLock lock(engine_.mutex_);
        engine_.running_.erase(id_);
    }

    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

private:
    TransactionEngine& engine_;
    const std::string id_;
};

struct TransactionEngine::Question {
    Transaction transaction;
    MessageView message;
};

TransactionEngine::TransactionEngine(Runtime& runtime,
                                     LoopSlot& slot,
                                     const Options& options,
                                     TransactionProducer::Check check)
    : runtime_(runtime),
      slot_(slot),
      options_(options),
      check_(std::move(check)),
      committed_(runtime.metrics().counter("gantry_client_transactions_committed_total",
                                           "Commits that a broker confirmed.")),
      rolled_back_(runtime.metrics().counter("gantry_client_transactions_rolled_back_total",
                                             "Rollbacks that a broker confirmed.")),
      unconfirmed_(runtime.metrics().counter("gantry_client_transactions_unconfirmed_total",
                                             "Transactions whose fate brokers have to ask for.")),
      asked_(runtime.metrics().counter("gantry_client_transactions_asked_total",
                                       "Questions of brokers about transactions.")),
      questions_dropped_(
          runtime.metrics().counter("gantry_client_transaction_questions_dropped_total",
                                    "Questions above checks_waiting_max.")),
      random_(random_seed()) {}

TransactionEngine::~TransactionEngine() = default;

void TransactionEngine::start() {
    for (const std::string& topic : options_.topics) {
        runtime_.routes().watch(topic);
    }
    listener_ = runtime_.heartbeats().answer_checks(
        options_.group,
        [weak = weak_from_this()](const net::Received& received, const std::string& address) {
            if (const std::shared_ptr<TransactionEngine> self = weak.lock()) {
                self->on_question(received, address);
            }
        });
    runtime_.heartbeats().add_producer(options_.group);
    for (std::uint32_t i = 0; i < options_.threads; ++i) {
        threads_.emplace_back([this, i] {
            set_thread_name(("gantry-txn-" + std::to_string(i)).substr(0, 15).c_str());
            work();
        });
    }
}

Status TransactionEngine::enter() {
    const MutexLock lock(mutex_);
    return enter_locked();
}

Status TransactionEngine::enter_locked() {
    if (is_closed_) {
        return closed();
    }
    if (active_ >= options_.in_flight_max) {
        return Error{Errc::kBusy,
                     std::to_string(active_) + " transactions are under way, in_flight_max " +
                         std::to_string(options_.in_flight_max)};
    }
    ++active_;
    return ok();
}

void TransactionEngine::leave() {
    const MutexLock lock(mutex_);
    if (--active_ == 0) {
        changed_.notify_all();
    }
}

void TransactionEngine::work() {
    while (true) {
        Job job;
        {
            MutexLock lock(mutex_);
            while (jobs_.empty() && !is_ended_) {
                lock.wait(changed_);
            }
            if (is_ended_) {
                return;
            }
            job = std::move(jobs_.front());
            jobs_.pop_front();
        }
        job(true);
    }
}

Result<TransactionReceipt> TransactionEngine::send(Message message,
                                                   TransactionProducer::Local& local) {
    GANTRY_TRY(enter());
    const Active active(*this);
    return run(std::move(message), local);
}

Status TransactionEngine::send_async(Message message,
                                     TransactionProducer::Local local,
                                     TransactionProducer::Done done) {
    GANTRY_TRY(wire::check_topic_name(message.topic));
    GANTRY_TRY(check_message(message, {options_.message_bytes_max}));
    const MutexLock lock(mutex_);
    GANTRY_TRY(enter_locked());
    jobs_.push_back(
        [this, message = std::move(message), local = std::move(local), done = std::move(done)](
            bool runs) mutable {
            const Active active(*this);
            done(runs ? run(std::move(message), local) : Result<TransactionReceipt>(closed()));
        });
    changed_.notify_all();
    return ok();
}

Result<Transaction> TransactionEngine::begin(Message message) {
    GANTRY_TRY(enter());
    const Active active(*this);
    return store_half(message, new_id());
}

Status TransactionEngine::end(const Transaction& transaction, TransactionOutcome outcome) {
    GANTRY_TRY(enter());
    const Active active(*this);
    return tell(transaction, outcome, false);
}

Result<TransactionReceipt> TransactionEngine::run(Message message,
                                                  TransactionProducer::Local& local) {
    const std::string id = new_id();
    const Running running(*this, id);
    TransactionReceipt receipt;
    GANTRY_ASSIGN_OR_RETURN(receipt.transaction, store_half(message, id));
    receipt.outcome = call_back(local, receipt.transaction);
    if (receipt.outcome == TransactionOutcome::kUnknown) {
        unconfirmed_.add();
        return receipt;
    }
    const Status told = tell(receipt.transaction, receipt.outcome, false);
    // A client that stops has not heard; its group is asked.
    if (!told && told.error().code != Errc::kClosed && !may_repeat(told.error().code)) {
        return told.error();
    }
    receipt.is_confirmed = told.has_value();
    if (!told) {
        unconfirmed_.add();
        kLog.warn("transaction_unconfirmed",
                  {{"id", std::string_view(id)}, {"error", told.error()}});
    }
    return receipt;
}

std::string TransactionEngine::new_id() {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string id(kIdDigits, '0');
    const MutexLock lock(mutex_);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        bits = i % 16 == 0 ? random_.next() : bits >> 4U;
        id[i] = kHex[bits & 0xFU];
    }
    return id;
}

void TransactionEngine::on_question(const net::Received& received, const std::string& address) {
    wire::CheckTransactionStateRequest fields;
    if (!wire::decode_fields(received.header, fields)) {
        return;
    }
    auto question = std::make_shared<Question>();
    Transaction& transaction = question->transaction;
    transaction.id = fields.msgid();
    transaction.queue.topic = fields.topic();
    transaction.half_log_offset = fields.commitlogoffset();
    transaction.half_queue_offset = fields.transtatetableoffset();
    transaction.broker_address = address;
    if (const RoutePtr route = runtime_.routes().cached(fields.topic())) {
        for (const BrokerRoute& broker : route->brokers) {
            if (broker.master() == address) {
                transaction.queue.broker = broker.name;
            }
        }
    }
    RecordReader reader(received.body,
                        std::make_shared<const ReceivedBody>(
                            ReceivedBody{received.pin(), transaction.queue.broker}));
    if (!reader.next(question->message)) {
        return;
    }
    transaction.queue.queue = question->message.queue();
    asked_.add();
    const MutexLock lock(mutex_);
    if (is_closed_ || questions_ >= options_.checks_waiting_max) {
        questions_dropped_.add();
        return;
    }
    ++questions_;
    jobs_.push_back([this, question](bool runs) {
        if (runs) {
            answer(*question);
        }
        const MutexLock counting(mutex_);
        --questions_;
    });
    changed_.notify_all();
}

bool TransactionEngine::is_running(const std::string& id) {
    const MutexLock lock(mutex_);
    return running_.contains(id);
}

void TransactionEngine::answer(const Question& question) {
    if (is_running(question.transaction.id)) {
        return;
    }
    const TransactionOutcome outcome = call_back(check_, question.message);
    if (outcome == TransactionOutcome::kUnknown) {
        return;
    }
    const Status told = tell(question.transaction, outcome, true);
    if (!told) {
        kLog.warn("transaction_answer_failed",
                  {{"id", std::string_view(question.transaction.id)}, {"error", told.error()}});
    }
}

Status TransactionEngine::close(std::chrono::milliseconds drain_limit) {
    const SteadyTime deadline = std::chrono::steady_clock::now() + drain_limit;
    std::deque<Job> dropped;
    {
        MutexLock lock(mutex_);
        is_closed_ = true;
        bool is_in_time = true;
        while (active_ > 0 && is_in_time && !is_ended_) {
            is_in_time = lock.wait_until(changed_, deadline);
        }
        if (!std::exchange(is_ended_, true)) {
            dropped.swap(jobs_);
            changed_.notify_all();
        }
    }
    for (Job& job : dropped) {
        job(false);
    }
    runtime_.heartbeats().end_checks(listener_);
    const MutexLock lock(mutex_);
    if (active_ > 0) {
        return Error{Errc::kTimeout,
                     std::to_string(active_) + " transactions still run after " +
                         std::to_string(drain_limit.count()) + " ms"};
    }
    return ok();
}

void TransactionEngine::join() {
    for (std::thread& thread : std::exchange(threads_, {})) {
        thread.join();
    }
    // Calls of other threads end by their deadlines.
    MutexLock lock(mutex_);
    while (active_ > 0) {
        lock.wait(changed_);
    }
}

}  // namespace gantry::client
