// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/coordinator.h"
#include "broker/replication/group_state.h"
#include "common/clock.h"
#include "common/ids.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace gantry::broker {

/// Decides what a member of a group is to do, from what it knows. No I/O, no clock of its own;
/// asked again whenever something changed, and at Decision::again_at.
///
///   is master of the state's epoch                     -> serve
///   was, and the state has another                     -> step down
///   the state's master lives and its port answers      -> follow
///   it does not, and this copy is in the in-sync set   -> lead: swap {epoch + 1, self, who lives}
///   ... and it is not                                  -> wait, and say why
///
/// A master serves only an epoch that its own swap made: after a restart, and when it was handed
/// the group, it leads once more with the next epoch. So an election costs time when it was
/// needless, and never a message; nothing here has to be right about who lives.
///
/// Who leads first: the longest log among the set that lives, by 200 ms a rank; elections soon
/// after one another by the same member wait for 250 ms, 500 ms ... 8 s.
///
/// Without a state: a member whose store is empty, or was never part of a group, may found the
/// group with epoch 1. It lets others show up first: who has messages goes before who has none,
/// then the lowest number. Where two have messages, or one obeyed an epoch before (then the state
/// was lost), nobody can tell whose messages count: an operator has to.
///
/// Threads   one.
class Elector {
public:
    /// Whose decisions these are.
    struct Options {
        MemberId self;
        std::uint64_t incarnation = 0;
        /// Elects when the master is gone. Static roles do not; they resume their own epoch only.
        bool is_automatic = true;
        /// May found a group: static roles with replication.role = master, others always.
        bool may_found = true;
        std::chrono::milliseconds rank_delay{200};
        std::chrono::milliseconds found_delay{1'000};
        std::chrono::milliseconds again_delay{250};  ///< doubled each time
    };

    /// What an operator asked for; taken once.
    struct Asked {
        bool accept_loss = false;  ///< although this copy is not in the set
    };

    /// What is known at the moment.
    struct Facts {
        SteadyTime now{};
        LogOffset log_end;
        std::int64_t promised = 0;  ///< the highest epoch this member has obeyed, or written
        std::int64_t serving = 0;   ///< it is master of that epoch; 0: it is not
        bool is_refused =
            false;  ///< the state's master's replication port refuses: nobody is there
        std::optional<Asked> asked{};
    };

    /// kWait: neither master nor slave; a reason goes with it.
    enum class Kind : std::uint8_t { kServe, kStepDown, kFollow, kLead, kWait };

    /// What to do.
    struct Decision {
        Kind kind = Kind::kWait;
        GroupState next;             ///< of kLead: to swap in
        std::uint64_t revision = 0;  ///< of kLead: to compare with
        std::int64_t epoch = 0;      ///< of kFollow, kStepDown: the state's
        std::int64_t master = GroupState::kNobody;
        std::string address;  ///< of kFollow: replication address
        std::string reason;   ///< of kWait, kStepDown: for operators
        SteadyTime again_at = SteadyTime::max();
    };

    explicit Elector(const Options& options) : options_(options) {}

    /// While a swap that this has asked for is under way, do not ask; a swap of unknown outcome is
    /// over when it was told: the next decision tries anew.
    Decision decide(const GroupView& view, const Facts& facts);

private:
    Decision found(const GroupView& view, const Facts& facts);
    Decision succeed(const GroupView& view, const Facts& facts);
    Decision lead_when_due(const GroupView& view, const Facts& facts, SteadyTime due);
    Decision lead(const GroupView& view, const Facts& facts, bool accept_loss);
    std::string why_not_electable(const GroupView& view) const;
    std::string why_not_founding(const GroupView& view, const Facts& facts) const;
    std::int64_t rank(const GroupView& view, const Facts& facts) const;
    SteadyTime rested_at(SteadyTime now);

    const Options options_;
    std::int64_t vacant_epoch_ = -1;  ///< whose master was found gone, at vacant_since_
    SteadyTime vacant_since_{};
    std::deque<SteadyTime> elections_;  ///< lately
};

}  // namespace gantry::broker
