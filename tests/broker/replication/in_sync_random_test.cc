// SPDX-License-Identifier: Apache-2.0
// Three members, a register, and everything that may go wrong between them, over InSync itself.
#include "broker/replication/in_sync.h"
#include "common/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

namespace gantry::broker {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMembers = 3;
constexpr std::chrono::milliseconds kLagMax{20};

/// A log record: the epoch and how many there were; equal ones are the same record.
using Record = std::int64_t;
using Log = std::vector<Record>;

/// What keeps the state: conditional writes, some of which arrive long after they were given up.
struct Register {
    GroupState state;
    std::uint64_t revision = 0;

    Result<std::uint64_t> swap(std::uint64_t compared, const GroupState& next) {
        if (compared != revision) {
            return Error{Errc::kConflict, "another revision"};
        }
        state = next;
        return ++revision;
    }
};

struct Swap {
    std::uint64_t compared = 0;
    GroupState next;
};

struct Ack {
    MemberId from;
    LogOffset end;
    SteadyTime caught_up_at;
};

/// One copy, and the master that its process may be.
struct Member {
    MemberId id;
    Log log;
    std::int64_t promised = 0;
    std::int64_t leading = 0;  // epoch; 0: it does not
    std::unique_ptr<InSync> set;
    std::optional<Swap> swap;  // that the set waits for
    std::optional<Swap> election;
    std::vector<Ack> acks;  // on their way to it
};

class Group {
public:
    explicit Group(std::uint64_t seed) : random_(seed) {
        for (std::size_t i = 0; i < kMembers; ++i) {
            members_[i].id = {.member = static_cast<std::int64_t>(i) + 1, .storage = ++storages_};
        }
        register_.state = {.epoch = 0,
                           .master = GroupState::kNobody,
                           .members = {members_[0].id, members_[1].id, members_[2].id},
                           .loss_accepted = false};
        register_.revision = 1;
    }

    void step() {
        now_ += milliseconds(random_.below(4));
        Member& member = members_[random_.below(kMembers)];
        switch (random_.below(16)) {
            case 0:
                elect(member);
                break;
            case 1:
                end_election(member);
                break;
            case 2:
            case 3:
            case 4:
                append(member);
                break;
            case 5:
                start_swap(member);
                break;
            case 6:
                end_swap(member);
                break;
            case 7:
                late_swap();
                break;
            case 8:
                look(member);
                break;
            case 9:
                break_something(member);
                break;
            case 10:
            case 11:
                take_ack(member);
                break;
            default:
                follow(member, members_[random_.below(kMembers)]);
        }
        check();
    }

    std::size_t acknowledged() const { return acknowledged_.size(); }

    std::int64_t epochs() const { return register_.state.epoch; }

    const std::string& fault() const { return fault_; }

private:
    LogOffset end_of(const Member& member) const {
        return LogOffset(static_cast<std::int64_t>(member.log.size()));
    }

    /// Anybody in the set may try at any time: clocks and leases are not to be trusted.
    void elect(Member& member) {
        const GroupState& state = register_.state;
        if (!state.has(member.id) || member.election || member.leading != 0 ||
            random_.below(4) != 0) {
            return;
        }
        GroupState next{.epoch = std::max(state.epoch, member.promised) + 1,
                        .master = member.id.member,
                        .members = {},
                        .loss_accepted = false};
        for (const MemberId& id : state.members) {
            if (id == member.id || random_.below(2) == 0) {
                next = next.with(id);
            }
        }
        member.election = Swap{.compared = register_.revision, .next = next};
    }

    void end_election(Member& member) {
        if (!member.election) {
            return;
        }
        const Swap swap = *std::exchange(member.election, std::nullopt);
        const std::uint64_t fate = random_.below(8);
        if (fate == 0) {
            late_.push_back(swap);  // given up; another try may follow
            return;
        }
        const Result<std::uint64_t> outcome = register_.swap(swap.compared, swap.next);
        if (!outcome || fate == 1 || swap.next.epoch <= member.promised) {
            return;  // refused, unknown, or too late: it obeys a later epoch already
        }
        member.promised = swap.next.epoch;
        member.leading = swap.next.epoch;
        member.acks.clear();
        member.set = std::make_unique<InSync>(InSync::Options{.self = member.id,
                                                              .epoch = swap.next.epoch,
                                                              .epoch_start = end_of(member),
                                                              .lag_max = kLagMax},
                                              swap.next,
                                              *outcome);
        append(member);
    }

    void append(Member& member) {
        if (member.leading != 0) {
            member.log.push_back(member.leading << 32U | ++records_);
            member.set->own_end(end_of(member));
        }
    }

    void start_swap(Member& member) {
        if (member.leading == 0 || member.swap) {
            return;
        }
        const std::uint64_t compared = member.set->revision();
        if (const auto wanted = member.set->wanted(now_)) {
            member.swap = Swap{.compared = compared, .next = *wanted};
        }
    }

    void end_swap(Member& member) {
        if (!member.swap) {
            return;
        }
        const Swap swap = *std::exchange(member.swap, std::nullopt);
        switch (random_.below(8)) {
            case 0:  // lost on the way, or not yet there
                late_.push_back(swap);
                told(member, Error{Errc::kTimeout, "no answer"});
                return;
            case 1:  // the answer is lost
                (void)register_.swap(swap.compared, swap.next).has_value();
                told(member, Error{Errc::kUnknown, "no answer"});
                return;
            case 2:
                told(member, Error{Errc::kGone, "never sent"});
                return;
            default:
                told(member, register_.swap(swap.compared, swap.next));
        }
    }

    void told(Member& member, const Result<std::uint64_t>& outcome) {
        if (!member.set->swapped(outcome)) {
            step_down(member);
        }
    }

    void late_swap() {
        if (!late_.empty() && random_.below(2) == 0) {
            const std::size_t which = random_.below(late_.size());
            (void)register_.swap(late_[which].compared, late_[which].next).has_value();
            late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(which));
        }
    }

    void look(Member& member) {
        if (member.leading != 0 && !member.set->seen(register_.state, register_.revision)) {
            step_down(member);
        }
    }

    void step_down(Member& member) {
        member.leading = 0;
        member.set.reset();
        if (member.swap) {
            late_.push_back(*std::exchange(member.swap, std::nullopt));
        }
    }

    void break_something(Member& member) {
        switch (random_.below(24)) {
            case 0:  // killed: what was durable stays
                forget(member);
                break;
            case 1:  // its disk is replaced
                forget(member);
                member.log.clear();
                member.promised = 0;
                member.id.storage = ++storages_;
                break;
            default:
                if (member.leading != 0) {
                    member.set->disconnected(members_[random_.below(kMembers)].id);
                }
        }
    }

    void forget(Member& member) {
        step_down(member);
        member.acks.clear();
        if (member.election) {
            late_.push_back(*std::exchange(member.election, std::nullopt));
        }
    }

    /// Shakes hands, cuts what differs, takes some of the master's log and says so.
    void follow(Member& slave, Member& master) {
        if (master.leading == 0 || &slave == &master || slave.promised > master.leading) {
            return;
        }
        if (slave.leading != 0) {
            step_down(slave);
        }
        slave.promised = master.leading;
        const auto differs =
            std::mismatch(slave.log.begin(), slave.log.end(), master.log.begin(), master.log.end());
        slave.log.erase(differs.first, slave.log.end());
        const std::size_t some = random_.below(4);
        while (slave.log.size() < master.log.size() &&
               slave.log.size() <
                   static_cast<std::size_t>(differs.second - master.log.begin()) + some) {
            slave.log.push_back(master.log[slave.log.size()]);
        }
        const bool is_all = slave.log.size() == master.log.size();
        master.acks.push_back({.from = slave.id,
                               .end = end_of(slave),
                               .caught_up_at = is_all ? now_ : SteadyTime::min()});
    }

    void take_ack(Member& master) {
        if (master.leading == 0 || master.acks.empty()) {
            return;
        }
        const Ack ack = master.acks.front();
        master.acks.erase(master.acks.begin());
        master.set->acknowledged(ack.from, ack.end, ack.caught_up_at);
    }

    void check() {
        for (const Member& member : members_) {
            if (member.leading == 0) {
                continue;
            }
            const auto confirmed = static_cast<std::size_t>(member.set->confirmed().value);
            if (confirmed > member.log.size()) {
                fault_ = "more is confirmed than there is";
                return;
            }
            for (std::size_t i = 0; i < confirmed; ++i) {
                if (i == acknowledged_.size()) {
                    acknowledged_.push_back(member.log[i]);
                } else if (acknowledged_[i] != member.log[i]) {
                    fault_ = "two records acknowledged at one offset";
                }
            }
        }
        for (const Member& member : members_) {
            const bool has_all =
                member.log.size() >= acknowledged_.size() &&
                std::equal(acknowledged_.begin(), acknowledged_.end(), member.log.begin());
            if (register_.state.has(member.id) && !has_all) {
                fault_ = "member " + to_string(member.id) + " of epoch " +
                         std::to_string(register_.state.epoch) + " lacks acknowledged records";
            }
        }
    }

    Random random_;
    SteadyTime now_{std::chrono::hours(1)};
    Register register_;
    Member members_[kMembers];
    std::vector<Swap> late_;
    Log acknowledged_;
    std::uint64_t storages_ = 0;
    Record records_ = 0;
    std::string fault_;
};

std::uint64_t seed_of_test() {
    const char* const wanted = std::getenv("GANTRY_TEST_SEED");
    const std::uint64_t seed =
        wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : random_seed();
    MESSAGE("GANTRY_TEST_SEED=" << seed);
    return seed;
}

}  // namespace

TEST_SUITE("broker/replication/in_sync_random") {
    TEST_CASE("what is acknowledged is in the log of everyone who can be elected, come what may") {
        constexpr int kRuns = 800;
        constexpr int kSteps = 600;
        Random seeds(seed_of_test());
        std::size_t acknowledged = 0;
        std::int64_t epochs = 0;
        for (int run = 0; run < kRuns; ++run) {
            const std::uint64_t seed = seeds.next();
            Group group(seed);
            for (int step = 0; step < kSteps && group.fault().empty(); ++step) {
                group.step();
            }
            REQUIRE_MESSAGE(group.fault().empty(), "run " << run << ": " << group.fault());
            acknowledged += group.acknowledged();
            epochs += group.epochs();
        }
        // It has to have come to something.
        CHECK(acknowledged > kRuns);
        CHECK(epochs > kRuns);
    }
}

}  // namespace gantry::broker
