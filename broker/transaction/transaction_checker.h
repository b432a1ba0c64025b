// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/delivery/group_registry.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "protocol/net/event_loop.h"
#include "storage/store.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

struct Context;
class LoopState;

/// Asks producers what became of transactions that have no outcome (39), each by a time of its own.
///
///   half message --immunity--> ask --interval--> ask ... check_max --> give up
///                                |                                        ^
///                                `- nobody there: until one comes, or open_ms_max
///
/// Any member of the group is asked, another one each time; one that does not read what it was sent
/// is passed over. A question that reached nobody does not count. What was asked is in the log:
/// neither the count nor the time begins anew after a restart.
///
/// Threads   opened: any. producer_joined: any loop. The rest: the first loop, a bounded number of
///           transactions a pass.
/// Lifetime  destroyed after its loop has stopped.
class TransactionChecker {
public:
    static constexpr std::string_view kGroup = "GANTRY_SYS_TRANSACTION";

    TransactionChecker(Context& context, LoopState& loop);

    /// Takes up what is open. Before the loop runs.
    void open();
    /// Starts asking. On the first loop.
    void start();
    void stop();

    /// A half message was stored; `terms` holds its immunity.
    void opened(const storage::Appended& half, const storage::OpenTransaction& terms);
    /// A producer group has one more member: what waited for one is asked now.
    void producer_joined(const std::string& group);

private:
    struct Question {
        storage::OpenTransaction transaction;
        GroupRegistry::Receiver receiver;
    };

    void run();
    void arm();
    void check(const storage::OpenTransaction& transaction);
    void ask(const Question& question, Bytes half);
    void has_read();
    void asked(LogOffset half, bool is_sent);
    void log_asked();
    void give_up(const storage::OpenTransaction& transaction);
    void postpone(const storage::OpenTransaction& transaction, WallMs by_ms);
    void unreadable(const storage::OpenTransaction& transaction, const Error& why);
    void wait_for_producer(const storage::OpenTransaction& transaction);
    void forget_ended();
    void hold_log();
    WallMs end_of(const storage::OpenTransaction& transaction) const;
    WallMs first_check(const storage::OpenTransaction& transaction) const;

    Context& context_;
    LoopState& loop_;
    net::Timer timer_;
    net::Timer hold_timer_;
    std::atomic<WallMs> armed_for_{storage::TransactionTable::kNever};
    std::size_t turn_ = 0;
    std::size_t reading_ = 0;       ///< half messages on their way from the disk
    std::vector<LogOffset> asked_;  ///< in this pass
    std::map<std::string, std::set<LogOffset>, std::less<>> unserved_;
    std::size_t unserved_count_ = 0;
    LogRate log_rate_{10};
    bool is_started_ = false;
};

}  // namespace gantry::broker
