// SPDX-License-Identifier: Apache-2.0
#include "tests/model/fail_over_model.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace gantry::model {
namespace {

static_assert(std::has_unique_object_representations_v<State>, "states are hashed as memory");

constexpr std::size_t kNobody = kMembers;

constexpr std::uint8_t bit(std::size_t member) {
    return static_cast<std::uint8_t>(1U << member);
}

bool has(std::uint8_t set, std::size_t member) {
    return (set & bit(member)) != 0;
}

std::uint8_t with(std::uint8_t set, std::size_t member) {
    return static_cast<std::uint8_t>(set | bit(member));
}

std::uint8_t without(std::uint8_t set, std::size_t member) {
    return static_cast<std::uint8_t>(set & ~bit(member));
}

std::uint8_t last_epoch(const Member& member) {
    return member.end == 0 ? std::uint8_t{0} : member.log[member.end - 1U];
}

void append(Member& member, std::uint8_t epoch) {
    member.log[member.end] = epoch;
    ++member.end;
}

void cut(Member& member, std::size_t at) {
    for (std::size_t i = at; i < kLogMax; ++i) {
        member.log[i] = 0;
    }
    member.end = static_cast<std::uint8_t>(std::min<std::size_t>(member.end, at));
    member.synced = std::min(member.synced, member.end);
}

/// Where records of `epoch` begin and end in the log; both 0 when there are none.
struct Span {
    std::size_t first = 0;
    std::size_t end = 0;
};

Span span_of(const Member& member, std::uint8_t epoch) {
    Span span;
    for (std::size_t i = 0; i < member.end; ++i) {
        if (member.log[i] == epoch) {
            span.first = span.end == 0 ? i : span.first;
            span.end = i + 1;
        }
    }
    return span;
}

/// As two members find it out of their lists of epochs, without looking at records.
std::size_t common_end(const Member& a, const Member& b) {
    for (std::uint8_t epoch = last_epoch(a); epoch > 0; --epoch) {
        const Span in_a = span_of(a, epoch);
        const Span in_b = span_of(b, epoch);
        if (in_a.end > 0 && in_b.end > 0 && in_a.first == in_b.first) {
            return std::min(in_a.end, in_b.end);
        }
    }
    return 0;
}

void end_mastership(State& state, std::size_t member) {
    Member& it = state.members[member];
    if (it.is_master == 0) {
        return;
    }
    for (Member& other : state.members) {
        if (other.epoch == it.epoch) {
            other.is_linked = 0;
        }
    }
    it.is_master = it.confirmed = it.start = it.members = it.pending = it.revision = 0;
    it.member_storage = it.pending_storage = it.known = it.known_storage = {};
}

/// Nobody waits for the answers to its requests any more.
void abandon_requests(State& state, std::size_t member) {
    state.members[member].swap = kSwapNone;
    for (Request& request : state.requests) {
        if (request.phase != kEmpty && request.sender == member) {
            request.is_orphan = 1;
        }
    }
}

/// A request that can only be refused is: its fate does not depend on when it arrives. What nobody
/// waits for and changes nothing is forgotten; the order of the others means nothing.
void tidy_requests(State& state) {
    for (Request& request : state.requests) {
        if (request.phase == kSent && request.expected != state.revision) {
            request.phase = kRefused;
        }
        if (request.is_orphan != 0 && request.phase != kSent) {
            request = Request{};
        }
    }
    std::sort(state.requests.begin(), state.requests.end(), [](const auto& a, const auto& b) {
        return std::memcmp(&a, &b, sizeof(Request)) > 0;
    });
}

bool has_free_request(const State& state) {
    return state.requests.back().phase == kEmpty;
}

}  // namespace

FailOverModel::FailOverModel(Bounds bounds, Mistake mistake) : bounds_(bounds), mistake_(mistake) {
    const auto add = [this](Step step, std::size_t subjects, std::size_t withs) {
        for (std::size_t subject = 0; subject < subjects; ++subject) {
            for (std::size_t other = 0; other < withs; ++other) {
                actions_.push_back(
                    {step, static_cast<std::uint8_t>(subject), static_cast<std::uint8_t>(other)});
            }
        }
    };
    for (const Step step : {Step::kAppend,
                            Step::kSync,
                            Step::kAcknowledge,
                            Step::kObserve,
                            Step::kResolve,
                            Step::kWipe}) {
        add(step, kMembers, 1);
    }
    for (const Step step : {Step::kApply, Step::kAnswer, Step::kLose}) {
        add(step, kRequestsMax, 1);
    }
    for (const Step step : {Step::kCopy, Step::kHandshake, Step::kExpand, Step::kShrink}) {
        add(step, kMembers, kMembers);
    }
    add(Step::kElect, kMembers, 2);
    add(Step::kCrash, kMembers, kLogMax + 1);
}

State FailOverModel::initial() const {
    State state{};
    for (Member& member : state.members) {
        member.epoch = 1;
    }
    for (const std::size_t member : {0U, 1U}) {
        append(state.members[member], 1);
        state.members[member].synced = 1;
    }
    state.members[1].is_linked = 1;
    state.group = {1, 0, static_cast<std::uint8_t>(bit(0) | bit(1)), {}};
    state.revision = 1;
    Member& master = state.members[0];
    master.is_master = 1;
    master.members = state.group.members;
    master.revision = state.revision;
    return state;
}

bool FailOverModel::apply(const State& from, Action action, State& to) const {
    if (!can(from, action)) {
        return false;
    }
    to = from;
    act(to, action);
    tidy_requests(to);
    for (std::size_t i = 0; i < kMembers; ++i) {
        confirm(to, i);
    }
    return true;
}

/// Whom a follower that is linked copies from; kNobody.
std::size_t FailOverModel::source(const State& state, std::size_t follower) const {
    const Member& it = state.members[follower];
    for (std::size_t i = 0; it.is_linked != 0 && i < kMembers; ++i) {
        if (i != follower && state.members[i].is_master != 0 &&
            state.members[i].epoch == it.epoch) {
            return i;
        }
    }
    return kNobody;
}

bool FailOverModel::can(const State& from, Action action) const {
    const std::size_t subject = action.subject;
    switch (action.step) {
        case Step::kAppend: {
            const Member& it = from.members[subject];
            const auto starts = static_cast<std::size_t>(std::count_if(
                it.log.begin(), it.log.end(), [last = std::uint8_t{0}](std::uint8_t epoch) mutable {
                    return epoch != std::exchange(last, epoch) && epoch != 0;
                }));
            return it.is_master != 0 && it.end < kLogMax && it.end - starts < bounds_.records;
        }
        case Step::kSync:
            return from.members[subject].synced < from.members[subject].end;
        case Step::kCrash: {
            const Member& it = from.members[subject];
            return from.crashes < bounds_.crashes && action.with >= it.synced &&
                   action.with <= it.end;
        }
        case Step::kWipe:
            return from.wipes < bounds_.wipes;
        case Step::kCopy:
        case Step::kAcknowledge:
        case Step::kHandshake:
        case Step::kObserve:
            return can_follow(from, action);
        default:
            return can_swap(from, action);
    }
}

bool FailOverModel::can_follow(const State& from, Action action) const {
    const std::size_t subject = action.subject;
    const Member& it = from.members[subject];
    if (action.step == Step::kObserve) {
        return from.group.epoch > it.epoch;
    }
    if (action.step == Step::kAcknowledge) {
        const std::size_t master = source(from, subject);
        return master != kNobody && (from.members[master].known[subject] != own_end(it) ||
                                     from.members[master].known_storage[subject] != it.storage);
    }
    const Member& other = from.members[action.with];
    if (action.with == subject || other.is_master == 0 || it.is_master != 0) {
        return false;
    }
    if (action.step == Step::kHandshake) {
        return it.epoch <= other.epoch && last_epoch(it) <= other.epoch;
    }
    const bool is_accepted = source(from, subject) == action.with ||
                             (mistake_ == Mistake::kOlderEpochAccepted && other.epoch < it.epoch);
    return is_accepted && it.end < other.end;
}

bool FailOverModel::can_swap(const State& from, Action action) const {
    const std::size_t subject = action.subject;
    if (action.step == Step::kApply) {
        return from.requests[subject].phase == kSent;
    }
    if (action.step == Step::kAnswer) {
        return from.requests[subject].phase > kSent;
    }
    if (action.step == Step::kLose) {
        return from.requests[subject].phase != kEmpty && from.requests[subject].is_orphan == 0;
    }
    const Member& it = from.members[subject];
    const bool can_send = has_free_request(from) && from.swaps < bounds_.swaps;
    if (action.step == Step::kResolve) {
        return it.is_master != 0 && it.swap == kSwapUnknown && from.group.epoch == it.epoch &&
               (can_send || mistake_ == Mistake::kUnknownSwapRead);
    }
    if (!can_send || it.swap != kSwapNone) {
        return false;
    }
    if (action.step == Step::kElect) {
        const bool is_in_set =
            has(from.group.members, subject) && from.group.storage[subject] == it.storage;
        return it.is_master == 0 && from.group.epoch < bounds_.epochs && it.end < kLogMax &&
               (is_in_set || mistake_ == Mistake::kElectedOutsideSet) &&
               (action.with == 0 || from.group.master != subject);
    }
    const std::size_t other = action.with;
    if (it.is_master == 0 || other == subject) {
        return false;
    }
    if (action.step == Step::kShrink) {
        return has(it.members, other);
    }
    const bool is_in_set =
        has(it.members, other) && it.member_storage[other] == it.known_storage[other];
    const std::uint8_t least = mistake_ == Mistake::kJoinBeforeEpochStart
                                   ? it.confirmed
                                   : std::max(it.confirmed, it.start);
    return !is_in_set && source(from, other) == subject && it.known[other] >= least;
}

void FailOverModel::act(State& to, Action action) const {
    const std::size_t subject = action.subject;
    Member& it = to.members[subject];
    switch (action.step) {
        case Step::kAppend:
            append(it, it.epoch);
            break;
        case Step::kSync:
            it.synced = it.end;
            break;
        case Step::kCopy:
            append(it, to.members[action.with].log[it.end]);
            break;
        case Step::kAcknowledge: {
            Member& master = to.members[source(to, subject)];
            master.known[subject] = own_end(it);
            master.known_storage[subject] = it.storage;
            break;
        }
        case Step::kHandshake:
            handshake(to, subject, action.with);
            break;
        case Step::kObserve:
            if (it.is_master != 0) {
                end_mastership(to, subject);
                abandon_requests(to, subject);
            }
            it.epoch = to.group.epoch;
            it.is_linked = 0;
            break;
        case Step::kCrash:
            ++to.crashes;
            restart(to, subject);
            cut(it, action.with);
            it.synced = it.end;
            if (bounds_.async_flush && mistake_ != Mistake::kUncleanStopKeepsId) {
                ++it.storage;
            }
            break;
        case Step::kWipe:
            ++to.wipes;
            restart(to, subject);
            cut(it, 0);
            it.epoch = 0;
            if (mistake_ != Mistake::kNoStorageId) {
                ++it.storage;
            }
            break;
        default:
            act_on_register(to, action);
            break;
    }
}

void FailOverModel::act_on_register(State& to, Action action) const {
    const std::size_t subject = action.subject;
    Member& it = to.members[subject];
    switch (action.step) {
        case Step::kElect: {
            Group next = to.group;
            ++next.epoch;
            next.members =
                with(action.with == 1 ? without(next.members, next.master) : next.members, subject);
            next.master = action.subject;
            next.storage[subject] = it.storage;
            send(to, subject, next, to.revision);
            break;
        }
        case Step::kExpand: {
            Group next{it.epoch, action.subject, with(it.members, action.with), it.member_storage};
            next.storage[action.with] = it.known_storage[action.with];
            it.pending = bit(action.with);
            it.pending_storage[action.with] = it.known_storage[action.with];
            send(to, subject, next, it.revision);
            break;
        }
        case Step::kShrink: {
            const Group next{
                it.epoch, action.subject, without(it.members, action.with), it.member_storage};
            if (mistake_ == Mistake::kShrinkBeforeSwap) {
                it.members = next.members;
            }
            send(to, subject, next, it.revision);
            break;
        }
        case Step::kResolve:
            if (mistake_ == Mistake::kUnknownSwapRead) {
                it.swap = kSwapNone;
                it.pending = 0;
                it.pending_storage = {};
                it.members = to.group.members;
                it.member_storage = to.group.storage;
                it.revision = to.revision;
            } else {
                send(to, subject, to.group, to.revision);
            }
            break;
        case Step::kApply:
            to.group = to.requests[subject].value;
            ++to.revision;
            to.requests[subject].phase = kApplied;
            break;
        case Step::kAnswer: {
            const Request request = to.requests[subject];
            to.requests[subject] = Request{};
            answered(to, request);
            break;
        }
        default:
            lose(to, subject);
            break;
    }
}

void FailOverModel::handshake(State& to, std::size_t follower, std::size_t master) const {
    Member& it = to.members[follower];
    Member& other = to.members[master];
    it.epoch = other.epoch;
    it.is_linked = 1;
    if (mistake_ != Mistake::kNoCutOnRejoin) {
        cut(it, common_end(it, other));
    }
    other.known[follower] = 0;
    other.known_storage[follower] = it.storage;
}

void FailOverModel::send(State& to,
                         std::size_t sender,
                         const Group& value,
                         std::uint8_t expected) const {
    ++to.swaps;
    to.members[sender].swap = kSwapWaiting;
    to.requests.back() = {kSent, static_cast<std::uint8_t>(sender), 0, expected, value};
}

void FailOverModel::answered(State& to, Request request) const {
    Member& it = to.members[request.sender];
    const bool is_applied = request.phase == kApplied;
    if (it.is_master != 0) {
        it.swap = is_applied ? kSwapNone : kSwapUnknown;
        if (is_applied) {
            it.members = request.value.members;
            it.member_storage = request.value.storage;
            it.revision = static_cast<std::uint8_t>(request.expected + 1);
            it.pending = 0;
            it.pending_storage = {};
        }
        return;
    }
    it.swap = kSwapNone;
    if (!is_applied || request.value.epoch <= it.epoch || it.end >= kLogMax) {
        return;
    }
    it.epoch = request.value.epoch;
    it.is_linked = 0;
    it.is_master = 1;
    it.start = it.end;
    it.members = request.value.members;
    it.member_storage = request.value.storage;
    it.revision = static_cast<std::uint8_t>(request.expected + 1);
    append(it, it.epoch);
    it.synced = it.end;
}

/// No answer comes in time; the request may yet arrive.
void FailOverModel::lose(State& to, std::size_t slot) const {
    Request& request = to.requests[slot];
    Member& it = to.members[request.sender];
    request.is_orphan = 1;
    it.swap = it.is_master != 0 ? kSwapUnknown : kSwapNone;
}

/// All but the disk and what is written there is forgotten.
void FailOverModel::restart(State& to, std::size_t member) const {
    end_mastership(to, member);
    abandon_requests(to, member);
    to.members[member].is_linked = 0;
}

std::uint8_t FailOverModel::own_end(const Member& member) const {
    const bool in_memory = bounds_.async_flush || mistake_ == Mistake::kAckBeforeFlush;
    return in_memory ? member.end : member.synced;
}

/// How far the copy that counts is known to have the log.
std::uint8_t FailOverModel::counted_end(const State& state,
                                        std::size_t master,
                                        std::size_t member) const {
    const Member& it = state.members[master];
    if (member == master) {
        return own_end(it);
    }
    const std::uint8_t heard_of = it.known_storage[member];
    const bool is_replaced = (has(it.members, member) && it.member_storage[member] != heard_of) ||
                             (has(it.pending, member) && it.pending_storage[member] != heard_of &&
                              mistake_ != Mistake::kPendingWithoutDisk);
    return is_replaced ? std::uint8_t{0} : it.known[member];
}

/// Confirms at once whatever can be: a later moment is the same as a later acknowledgement.
void FailOverModel::confirm(State& to, std::size_t master) const {
    Member& it = to.members[master];
    if (it.is_master == 0) {
        return;
    }
    std::uint8_t end = own_end(it);
    for (std::size_t i = 0; i < kMembers; ++i) {
        const bool is_pending = has(it.pending, i) && mistake_ != Mistake::kPendingNotCounted;
        if (has(it.members, i) || is_pending) {
            end = std::min(end, counted_end(to, master, i));
        }
    }
    if (end < it.confirmed && mistake_ == Mistake::kConfirmedGoesBack) {
        it.confirmed = end;
        to.has_gone_back = 1;
    }
    for (; it.confirmed < end; ++it.confirmed) {
        const std::uint8_t epoch = it.log[it.confirmed];
        std::uint8_t& before = to.confirmed[it.confirmed];
        to.has_two_records |= static_cast<std::uint8_t>(before != 0 && before != epoch);
        before = epoch;
        const auto me = static_cast<std::uint8_t>(master + 1);
        std::uint8_t& confirmer = to.confirmer[it.epoch];
        to.has_two_masters |= static_cast<std::uint8_t>(confirmer != 0 && confirmer != me);
        confirmer = me;
    }
}

}  // namespace gantry::model
