// SPDX-License-Identifier: Apache-2.0
#include "tests/chaos/history/checker.h"

#include "common/check.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace gantry::chaos {
namespace {

constexpr std::size_t kExamplesMax = 5;
constexpr const char* kRules[] = {"lost",
                                  "moved",
                                  "duplicate",
                                  "order",
                                  "holes",
                                  "rewritten",
                                  "from_nowhere",
                                  "seen_then_gone",
                                  "undelivered",
                                  "commit_lost",
                                  "two_masters"};

/// A message: its producer and number.
using Key = std::pair<std::uint32_t, std::uint64_t>;
using Queue = std::pair<std::uint32_t, std::int32_t>;

struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
        return (key.second * 0x9E3779B97F4A7C15ULL) ^ key.first;
    }
};

struct Fate {
    Outcome outcome = Outcome::kUnknown;
    Queue queue;
    std::int64_t offset = -1;
    std::uint32_t sum = 0;
    std::uint32_t reads = 0;
    std::uint32_t groups = 0;  ///< bit set of those that received it
    bool is_sent = false;
};

class Checker {
public:
    Checker(History& history, const std::vector<EpochMark>& marks)
        : history_(history), marks_(marks) {
        for (const char* const name : kRules) {
            verdict_.rules.push_back({name, 0, {}});
        }
    }

    Verdict run() {
        // Each queue is read by one process, in its order; sorting by time keeps that.
        std::stable_sort(
            history_.operations.begin(),
            history_.operations.end(),
            [](const Operation& a, const Operation& b) { return a.returned < b.returned; });
        each(Op::kSend, [this](const Operation& it) { sent(it); });
        each(Op::kRead, [this](const Operation& it) { read(it); });
        each(Op::kReceive, [this](const Operation& it) { received(it); });
        check_fates();
        check_commits();
        return std::move(verdict_);
    }

private:
    template <class Function>
    void each(Op op, Function function) const {
        for (const Operation& it : history_.operations) {
            if (it.op == op) {
                function(it);
            }
        }
    }

    void broken(const char* rule, const std::string& example) {
        const auto found = std::find_if(verdict_.rules.begin(),
                                        verdict_.rules.end(),
                                        [rule](const auto& it) { return it.name == rule; });
        GANTRY_ASSERT(found != verdict_.rules.end());
        if (++found->broken <= kExamplesMax) {
            found->examples.push_back(example);
        }
    }

    std::string text(const Operation& it) const { return format(it, history_.names); }

    std::string text(const Key& key) const {
        return history_.names.name(key.first) + '-' + std::to_string(key.second);
    }

    /// One offset, one message.
    void place(const Operation& it) {
        const auto [at, is_new] =
            places_.try_emplace({it.topic, it.queue, it.offset}, it.producer, it.counter);
        if (!is_new && at->second != Key(it.producer, it.counter)) {
            broken("rewritten", text(it) + ", which was " + text(at->second));
        }
    }

    void sent(const Operation& it) {
        Fate& fate = fates_[{it.producer, it.counter}];
        fate.is_sent = true;
        fate.outcome = it.outcome;
        fate.sum = it.sum;
        if (it.outcome == Outcome::kOk) {
            ++verdict_.sends_ok;
            fate.queue = {it.topic, it.queue};
            fate.offset = it.offset;
            place(it);
            acknowledged(it);
        } else {
            ++(it.outcome == Outcome::kFail ? verdict_.sends_failed : verdict_.sends_unknown);
        }
    }

    void acknowledged(const Operation& it) {
        if (it.member == 0) {
            return;
        }
        if (it.epoch < 0) {
            acknowledged_at(it);
            return;
        }
        const auto [at, is_new] = masters_.try_emplace(it.epoch, it.member);
        if (!is_new && at->second != it.member) {
            broken("two_masters", text(it) + ": the epoch is " + history_.names.name(at->second));
        }
    }

    void acknowledged_at(const Operation& it) {
        const auto behind = std::upper_bound(
            marks_.begin(),
            marks_.end(),
            it.log_offset,
            [](std::int64_t at, const EpochMark& mark) { return at < mark.start; });
        const std::string& member = history_.names.name(it.member);
        const bool is_theirs =
            std::any_of(behind == marks_.begin() ? behind : std::prev(behind),
                        marks_.end(),
                        [&member](const EpochMark& mark) { return mark.member == member; });
        if (behind != marks_.begin() && !is_theirs) {
            broken("two_masters",
                   text(it) + ": epoch " + std::to_string(std::prev(behind)->epoch) + " is " +
                       std::prev(behind)->member);
        }
    }

    void read(const Operation& it) {
        ++verdict_.read;
        place(it);
        Fate& fate = fates_[{it.producer, it.counter}];
        if (++fate.reads > 1) {
            broken("duplicate", text(it));
        }
        if (!fate.is_sent || fate.sum != it.sum) {
            broken("from_nowhere", text(it));
        } else if (fate.outcome == Outcome::kOk &&
                   (fate.queue != Queue(it.topic, it.queue) || fate.offset != it.offset)) {
            broken("moved", text(it) + ", acknowledged at offset " + std::to_string(fate.offset));
        }
        const auto [next, is_first] = next_.try_emplace({it.topic, it.queue}, it.offset);
        if (next->second != it.offset && !is_first) {
            broken("holes", text(it) + ", expected " + std::to_string(next->second));
        }
        next->second = it.offset + 1;
        const auto [last, is_new] =
            last_.try_emplace({it.topic, it.queue, it.producer}, it.counter);
        if (!is_new && last->second > it.counter) {
            broken("order", text(it) + " behind " + std::to_string(last->second));
        }
        last->second = std::max(last->second, it.counter);
    }

    /// Groups are counted by the process names before a '.': "push.1" and "push.2" are one.
    std::uint32_t group_bit(std::uint32_t process) {
        const std::string& name = history_.names.name(process);
        const auto next = static_cast<std::uint32_t>(groups_.size());
        const auto found = groups_.try_emplace(name.substr(0, name.find('.')), next);
        return 1U << std::min(found.first->second, 31U);
    }

    void received(const Operation& it) {
        ++verdict_.received;
        place(it);
        Fate& fate = fates_[{it.producer, it.counter}];
        const std::uint32_t group = group_bit(it.process);
        if ((fate.groups & group) != 0) {
            ++verdict_.received_again;
        } else if (!fate.is_sent || fate.sum != it.sum) {
            broken("from_nowhere", text(it));
        } else if (fate.reads == 0) {
            broken("seen_then_gone", text(it));
        }
        fate.groups |= group;
    }

    void check_fates() {
        const std::uint32_t all = groups_.empty() ? 0 : (1U << groups_.size()) - 1U;
        for (const auto& [key, fate] : fates_) {
            if (fate.outcome == Outcome::kOk && fate.is_sent && fate.reads == 0) {
                broken("lost",
                       text(key) + " at queue " + std::to_string(fate.queue.second) + " offset " +
                           std::to_string(fate.offset));
            }
            if (fate.reads > 0 && fate.groups != all) {
                broken("undelivered", text(key));
            }
            if (fate.reads > 0 && fate.is_sent && fate.outcome == Outcome::kUnknown) {
                ++verdict_.unknown_stored;
            }
            if (fate.reads > 0 && fate.is_sent && fate.outcome == Outcome::kFail) {
                ++verdict_.failed_stored;
                broken("from_nowhere", text(key) + " was said not to be stored");
            }
        }
    }

    void check_commits() {
        std::map<std::tuple<std::uint32_t, std::uint32_t, std::int32_t>,
                 std::vector<std::pair<std::int64_t, std::int64_t>>>
            commits;  // by group, topic, queue: when it was told, the highest so far
        each(Op::kCommit, [&](const Operation& it) {
            if (it.outcome == Outcome::kOk) {
                ++verdict_.commits;
                auto& list = commits[{it.producer, it.topic, it.queue}];
                const std::int64_t before = list.empty() ? -1 : list.back().second;
                list.emplace_back(it.returned, std::max(before, it.offset));
            }
        });
        each(Op::kCommitted, [&](const Operation& it) {
            const auto& list = commits[{it.producer, it.topic, it.queue}];
            const auto behind = std::lower_bound(
                list.begin(), list.end(), std::make_pair(it.invoked, std::int64_t{0}));
            if (it.outcome == Outcome::kOk && behind != list.begin() &&
                it.offset < std::prev(behind)->second) {
                broken("commit_lost",
                       text(it) + ", committed " + std::to_string(std::prev(behind)->second));
            }
        });
    }

    History& history_;
    const std::vector<EpochMark>& marks_;
    Verdict verdict_;
    std::unordered_map<Key, Fate, KeyHash> fates_;
    std::map<std::tuple<std::uint32_t, std::int32_t, std::int64_t>, Key> places_;
    std::map<std::int64_t, std::uint32_t> masters_;
    std::map<Queue, std::int64_t> next_;
    std::map<std::tuple<std::uint32_t, std::int32_t, std::uint32_t>, std::uint64_t> last_;
    std::map<std::string, std::uint32_t> groups_;
};

}  // namespace

bool Verdict::is_good() const {
    return std::all_of(
        rules.begin(), rules.end(), [](const Rule& rule) { return rule.broken == 0; });
}

const Verdict::Rule& Verdict::rule(const std::string& name) const {
    const auto found = std::find_if(
        rules.begin(), rules.end(), [&](const Rule& rule) { return rule.name == name; });
    GANTRY_ASSERT(found != rules.end());
    return *found;
}

Verdict check(History& history, const std::vector<EpochMark>& marks) {
    return Checker(history, marks).run();
}

std::string report(const Verdict& it) {
    std::string text =
        "sends " + std::to_string(it.sends_ok) + " acknowledged, " +
        std::to_string(it.sends_failed) + " failed, " + std::to_string(it.sends_unknown) +
        " unknown (" + std::to_string(it.unknown_stored) + " of them stored); read " +
        std::to_string(it.read) + "; received " + std::to_string(it.received) + ", again " +
        std::to_string(it.received_again) + "; commits " + std::to_string(it.commits) + "\n";
    for (const Verdict::Rule& rule : it.rules) {
        text += (rule.broken == 0 ? "ok      " : "BROKEN  ") + rule.name + " " +
                std::to_string(rule.broken) + "\n";
        for (const std::string& example : rule.examples) {
            text += "          " + example + "\n";
        }
    }
    return text;
}

}  // namespace gantry::chaos
