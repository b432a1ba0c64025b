// SPDX-License-Identifier: Apache-2.0
// What must hold in every state, and states in words.
#include "tests/model/fail_over_model.h"

#include <algorithm>

namespace gantry::model {
namespace {

bool has_all(const Member& member, const State& state) {
    for (std::size_t i = 0; i < kLogMax; ++i) {
        if (state.confirmed[i] != 0 && member.log[i] != state.confirmed[i]) {
            return false;
        }
    }
    return true;
}

/// Where two logs have a record of one epoch at one offset, all before it is the same too.
bool match(const Member& a, const Member& b) {
    bool is_same = true;
    for (std::size_t i = 0; i < std::min(a.end, b.end); ++i) {
        if (a.log[i] == b.log[i] && !is_same) {
            return false;
        }
        is_same = is_same && a.log[i] == b.log[i];
    }
    return true;
}

std::string name(std::size_t member) {
    return "member " + std::to_string(member);
}

std::string set_text(std::uint8_t set, const std::array<std::uint8_t, kMembers>& storage) {
    std::string text;
    for (std::size_t i = 0; i < kMembers; ++i) {
        if ((set & (1U << i)) != 0) {
            text +=
                (text.empty() ? "" : " ") + std::to_string(i) + "." + std::to_string(storage[i]);
        }
    }
    return "{" + text + "}";
}

std::string group_text(const Group& group) {
    return "epoch " + std::to_string(group.epoch) + ", master " + std::to_string(group.master) +
           ", set " + set_text(group.members, group.storage);
}

std::string log_text(const std::array<std::uint8_t, kLogMax>& log) {
    std::string text;
    for (const std::uint8_t epoch : log) {
        if (epoch != 0) {
            text += std::to_string(epoch);
        }
    }
    return text;
}

std::string request_text(const Request& request) {
    return "the swap of " + name(request.sender) + " at revision " +
           std::to_string(request.expected) + " to (" + group_text(request.value) + ")";
}

std::string describe_swap(const State& from, Action action) {
    const std::string who = name(action.subject);
    switch (action.step) {
        case Step::kElect:
            return who + " asks to be master of epoch " + std::to_string(from.group.epoch + 1) +
                   (action.with == 1 ? ", the old master out of the set" : "");
        case Step::kExpand:
            return who + " asks for " + name(action.with) + " to join the set";
        case Step::kShrink:
            return who + " asks for " + name(action.with) + " to leave the set";
        case Step::kResolve:
            return who + " asks again, not knowing how its last swap ended";
        case Step::kApply:
            return "applied: " + request_text(from.requests[action.subject]);
        case Step::kAnswer:
            return std::string(from.requests[action.subject].phase == kApplied ? "success"
                                                                               : "refusal") +
                   " heard of " + request_text(from.requests[action.subject]);
        default:
            return "no answer comes to " + request_text(from.requests[action.subject]);
    }
}

}  // namespace

std::string FailOverModel::violation(const State& state) const {
    if (state.has_two_records != 0) {
        return "two different records were confirmed at one offset";
    }
    if (state.has_two_masters != 0) {
        return "two masters confirmed in one epoch";
    }
    if (state.has_gone_back != 0 && checks_goes_back_) {
        return "a confirmed offset went back";
    }
    for (std::size_t i = 0; i < kMembers; ++i) {
        const Member& it = state.members[i];
        const bool is_electable =
            (state.group.members & (1U << i)) != 0 && state.group.storage[i] == it.storage;
        if (is_electable && !has_all(it, state)) {
            return name(i) + " may be elected and lacks a confirmed record";
        }
        if (it.is_master != 0 && it.epoch == state.group.epoch && !has_all(it, state)) {
            return name(i) + " is master and lacks a confirmed record";
        }
        for (std::size_t j = 0; j < i; ++j) {
            if (!match(it, state.members[j])) {
                return "the logs of members " + std::to_string(j) + " and " + std::to_string(i) +
                       " agree behind a difference";
            }
        }
    }
    return {};
}

std::string FailOverModel::describe(const State& from, Action action) {
    const std::string who = name(action.subject);
    switch (action.step) {
        case Step::kAppend:
            return who + " appends a record";
        case Step::kSync:
            return who + " syncs its log";
        case Step::kCopy:
            return who + " takes a record from " + name(action.with);
        case Step::kAcknowledge:
            return who + " acknowledges what it has";
        case Step::kHandshake:
            return who + " shakes hands with " + name(action.with);
        case Step::kObserve:
            return who + " sees epoch " + std::to_string(from.group.epoch) + " in the register";
        case Step::kCrash:
            return who + " crashes and starts again with " + std::to_string(action.with) + " of " +
                   std::to_string(from.members[action.subject].end) + " records";
        case Step::kWipe:
            return who + " gets an empty disk";
        default:
            return describe_swap(from, action);
    }
}

std::string FailOverModel::describe(const State& state) {
    std::string text = "register: revision " + std::to_string(state.revision) + ", " +
                       group_text(state.group) + "; confirmed " + log_text(state.confirmed) + "\n";
    for (std::size_t i = 0; i < kMembers; ++i) {
        const Member& it = state.members[i];
        text += name(i) + "." + std::to_string(it.storage) + ": log " + log_text(it.log) +
                ", synced " + std::to_string(it.synced) + ", epoch " + std::to_string(it.epoch);
        if (it.is_master != 0) {
            text += ", master, confirmed " + std::to_string(it.confirmed) + ", set " +
                    set_text(it.members, it.member_storage) + ", pending " +
                    set_text(it.pending, it.pending_storage);
        }
        text += "\n";
    }
    return text;
}

}  // namespace gantry::model
