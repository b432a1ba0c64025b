// SPDX-License-Identifier: Apache-2.0
#include "broker/transaction/transaction_checker.h"

#include "broker/context.h"
#include "broker/loop_state.h"
#include "broker/transaction/transaction_service.h"
#include "common/failpoint/failpoint.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/message_id.h"
#include "protocol/wire/properties.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gantry::broker {

namespace {

using storage::OpenTransaction;
using storage::TransactionTable;

constexpr Logger kLog("broker");
constexpr std::size_t kPerPass = 64;
constexpr std::size_t kReadingMax = 256;
constexpr std::size_t kUnservedSpare = 1'024;
constexpr WallMs kRetryMs = 1'000;
constexpr WallMs kSleepMax = 60'000;
constexpr std::chrono::milliseconds kHoldPeriod{5'000};
constexpr std::uint64_t kUnreadBytesMax = 256U << 10U;  ///< of a producer: it is not asked then

void send(Peer& peer,
          wire::Codec codec,
          const OpenTransaction& transaction,
          const std::string& half) {
    const Result<wire::Record> record = wire::parse_record(as_bytes(half));
    if (!record) {
        return;
    }
    const std::string key(wire::find_property(record->properties, wire::property::kUniqueKey));
    wire::CheckTransactionStateRequest fields;
    fields.set_topic(std::string(record->topic));
    fields.set_transtatetableoffset(transaction.queue_offset.value);
    fields.set_commitlogoffset(transaction.half.value);
    fields.set_offsetmsgid(wire::format_message_id({record->store_host, transaction.half}));
    if (!key.empty()) {
        fields.set_msgid(key);
        fields.set_transactionid(key);
    }
    // Stock clients take callbacks in JSON only.
    peer.connection->send_oneway(
        codec == wire::Codec::kNative ? wire::Codec::kNative : wire::Codec::kJson,
        wire::RequestCode::kCheckTransactionState,
        &fields,
        half);
}

}  // namespace

TransactionChecker::TransactionChecker(Context& context, LoopState& loop)
    : context_(context),
      loop_(loop),
      timer_(loop.loop(), [this] { run(); }),
      hold_timer_(loop.loop(), [this] {
          forget_ended();
          hold_log();
      }) {}

WallMs TransactionChecker::end_of(const OpenTransaction& transaction) const {
    return transaction.store_ms + context_.options.transaction_open_ms_max;
}

WallMs TransactionChecker::first_check(const OpenTransaction& transaction) const {
    const WallMs immunity = transaction.immunity_ms >= 0
                                ? transaction.immunity_ms
                                : context_.options.transaction_check_immunity_ms;
    return std::min(transaction.store_ms + immunity, end_of(transaction));
}

void TransactionChecker::open() {
    TransactionTable& table = context_.store->transactions().table();
    const std::size_t count = table.size();
    for (const OpenTransaction& open : table.list(LogOffset(0), count)) {
        const WallMs again = open.asked_ms + context_.options.transaction_check_interval_ms;
        table.schedule(open.half, open.asked > 0 ? again : first_check(open));
    }
    if (count > 0) {
        kLog.info("transactions_open", {{"count", count}});
    }
}

void TransactionChecker::start() {
    is_started_ = true;
    hold_timer_.start_every(kHoldPeriod);
    arm();
}

void TransactionChecker::stop() {
    is_started_ = false;
    timer_.cancel();
    hold_timer_.cancel();
}

void TransactionChecker::opened(const storage::Appended& half, const OpenTransaction& terms) {
    OpenTransaction opened = terms;
    opened.store_ms = half.store_ms;
    const WallMs due = first_check(opened);
    context_.store->transactions().table().schedule(half.first, due);
    if (due < armed_for_.load(std::memory_order_relaxed)) {
        loop_.post([this] { arm(); });
    }
}

void TransactionChecker::producer_joined(const std::string& group) {
    loop_.post([this, group] {
        const auto at = unserved_.find(group);
        if (at == unserved_.end()) {
            return;
        }
        for (const LogOffset half : at->second) {
            context_.store->transactions().table().schedule(half, context_.clock.wall_ms());
        }
        unserved_count_ -= at->second.size();
        unserved_.erase(at);
        arm();
    });
}

void TransactionChecker::arm() {
    if (!is_started_) {
        return;
    }
    // An opened() between the next two lines sees that it has to arm.
    armed_for_.store(TransactionTable::kNever, std::memory_order_relaxed);
    const WallMs due = reading_ >= kReadingMax ? TransactionTable::kNever
                                               : context_.store->transactions().table().next_due();
    armed_for_.store(due, std::memory_order_relaxed);
    if (due == TransactionTable::kNever) {
        timer_.cancel();
        return;
    }
    // The wall clock may step: never sleep past a minute of it.
    const WallMs wait = std::clamp<WallMs>(due - context_.clock.wall_ms(), 0, kSleepMax);
    timer_.start_once(std::chrono::milliseconds(wait));
}

void TransactionChecker::run() {
    const std::size_t count = reading_ >= kReadingMax ? 0 : kPerPass;
    for (const OpenTransaction& transaction :
         context_.store->transactions().table().take_due(context_.clock.wall_ms(), count)) {
        check(transaction);
    }
    arm();
}

void TransactionChecker::postpone(const OpenTransaction& transaction, WallMs by_ms) {
    const WallMs now = context_.clock.wall_ms();
    const WallMs end = std::max(end_of(transaction), now + kRetryMs);
    context_.store->transactions().table().schedule(transaction.half, std::min(now + by_ms, end));
}

void TransactionChecker::check(const OpenTransaction& transaction) {
    if (transaction.half >= context_.store->watermarks().confirmed) {
        postpone(transaction, kRetryMs);  // nobody can read it before it is on the disk
        return;
    }
    if (transaction.asked >= context_.options.transaction_check_max ||
        end_of(transaction) <= context_.clock.wall_ms()) {
        give_up(transaction);
        return;
    }
    const auto receiver = context_.groups.producer(transaction.group, turn_++);
    if (!receiver) {
        wait_for_producer(transaction);
        return;
    }
    // Something may go wrong on the way, and then nobody would come back to it.
    postpone(transaction, context_.options.transaction_check_interval_ms);
    ++reading_;
    context_.transactions->with_half(
        loop_, transaction, [this, question = Question{transaction, *receiver}](auto half) {
            has_read();
            if (half) {
                ask(question, *half);
            } else {
                unreadable(question.transaction, half.error());
            }
        });
}

void TransactionChecker::has_read() {
    if (reading_-- == kReadingMax) {
        arm();
    }
}

void TransactionChecker::wait_for_producer(const OpenTransaction& transaction) {
    context_.counters.transactions_unserved.add();
    if (unserved_[transaction.group].insert(transaction.half).second) {
        ++unserved_count_;
    }
    postpone(transaction, context_.options.transaction_check_interval_ms);
}

/// Transactions of groups without a producer that somebody ended all the same.
void TransactionChecker::forget_ended() {
    const TransactionTable& table = context_.store->transactions().table();
    if (unserved_count_ <= table.size() + kUnservedSpare) {
        return;
    }
    unserved_count_ = 0;
    for (auto at = unserved_.begin(); at != unserved_.end();) {
        std::erase_if(at->second, [&table](LogOffset half) { return !table.find(half); });
        unserved_count_ += at->second.size();
        at = at->second.empty() ? unserved_.erase(at) : std::next(at);
    }
}

void TransactionChecker::ask(const Question& question, Bytes half) {
    const OpenTransaction& transaction = question.transaction;
    Result<std::string> shown = TransactionService::as_asked(half, transaction.asked + 1);
    if (!shown) {
        unreadable(transaction, shown.error());
        return;
    }
    const GroupRegistry::Receiver to = question.receiver;
    LoopState& home = *context_.loops[static_cast<std::size_t>(to.peer & kPeerLoopMask)];
    auto work = [this, &home, to, transaction, record = std::move(shown).value()] {
        Peer* const peer = home.find_peer(to.peer);
        const bool can_read =
            peer != nullptr && peer->connection->output_bytes() <= kUnreadBytesMax;
        if (can_read) {
            send(*peer, to.codec, transaction, record);
        }
        if (&home == &loop_) {
            asked(transaction.half, can_read);
        } else {
            loop_.post([this, at = transaction.half, can_read] { asked(at, can_read); });
        }
    };
    if (&home == &loop_) {
        work();
    } else {
        home.post(std::move(work));
    }
}

void TransactionChecker::asked(LogOffset half, bool is_sent) {
    if (!is_sent) {
        context_.store->transactions().table().schedule(half, context_.clock.wall_ms() + kRetryMs);
        arm();
        return;
    }
    GANTRY_FAILPOINT("transaction.asked");
    context_.counters.transactions_asked.add();
    asked_.push_back(half);
    if (asked_.size() == 1) {
        loop_.post([this] { log_asked(); });
    }
}

void TransactionChecker::log_asked() {
    const std::vector<LogOffset> halves = std::exchange(asked_, {});
    const auto logged = context_.store->transactions().asked(halves);
    if (!logged) {
        kLog.warn("transaction_checks_not_counted",
                  {{"count", halves.size()}, {"error", logged.error()}});
    }
}

void TransactionChecker::give_up(const OpenTransaction& transaction) {
    postpone(transaction, kRetryMs);
    ++reading_;
    context_.transactions->with_half(loop_, transaction, [this, transaction](auto half) {
        has_read();
        if (!half) {
            unreadable(transaction, half.error());
            return;
        }
        const auto done = context_.transactions->give_up(loop_, *half, transaction.asked);
        const auto left_out = log_rate_.take(context_.clock.steady());
        if (done && left_out) {
            kLog.warn("transaction_given_up",
                      {{"half", transaction.half.value},
                       {"group", transaction.group},
                       {"asked", transaction.asked},
                       {"left_out", *left_out}});
        } else if (left_out) {
            kLog.warn("transaction_not_given_up",
                      {{"half", transaction.half.value}, {"error", done.error()}});
        }
    });
}

void TransactionChecker::unreadable(const OpenTransaction& transaction, const Error& why) {
    if (why.code != Errc::kCorrupt && why.code != Errc::kNotFound) {
        postpone(transaction, kRetryMs);
        return;
    }
    const auto ended = context_.store->transactions().end(transaction.half);
    if (ended) {
        loop_.want_flush();
        context_.counters.transactions_lost.add();
        kLog.error(
            "transaction_lost",
            {{"half", transaction.half.value}, {"group", transaction.group}, {"error", why}});
    }
}

/// The log keeps what the first open transaction needs: its topic is held until consumed.
void TransactionChecker::hold_log() {
    const std::int64_t end = context_.transactions->half_queue().max().value;
    const auto oldest = context_.store->transactions().table().oldest();
    if (end > 0) {
        loop_.offsets().put(
            {kGroup, storage::kHalfTopic, 0, oldest ? oldest->queue_offset.value : end});
    }
}

}  // namespace gantry::broker
