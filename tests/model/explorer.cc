// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace gantry::model {
namespace {

std::uint64_t mixed(std::uint64_t value) {
    value ^= value >> 32U;
    value *= 0xd6e8feb86659fd93ULL;
    value ^= value >> 32U;
    return value;
}

/// Never 0.
std::uint64_t hash(const State& state) {
    constexpr std::size_t kWords = (sizeof(State) + 7) / 8;
    std::array<std::uint64_t, kWords> words{};
    std::memcpy(words.data(), &state, sizeof(State));
    std::uint64_t sum = 0x9e3779b97f4a7c15ULL;
    for (const std::uint64_t word : words) {
        sum = mixed(sum ^ word) + 0x9e3779b97f4a7c15ULL;
    }
    sum = mixed(sum);
    return sum == 0 ? 1 : sum;
}

/// Hashes seen so far: an open table.
class Seen {
public:
    Seen() : table_(std::size_t{1} << 16U) {}

    /// False: it was there.
    bool add(std::uint64_t value) {
        if ((count_ + 1) * 3 > table_.size() * 2) {
            grow();
        }
        if (!put(value)) {
            return false;
        }
        ++count_;
        return true;
    }

private:
    bool put(std::uint64_t value) {
        const std::size_t mask = table_.size() - 1;
        std::size_t at = value & mask;
        while (table_[at] != 0 && table_[at] != value) {
            at = (at + 1) & mask;
        }
        return std::exchange(table_[at], value) == 0;
    }

    void grow() {
        std::vector<std::uint64_t> old(table_.size() * 2);
        old.swap(table_);
        for (const std::uint64_t value : old) {
            if (value != 0) {
                put(value);
            }
        }
    }

    std::vector<std::uint64_t> table_;
    std::size_t count_ = 0;
};

/// How a state was first reached.
struct Origin {
    std::uint32_t parent;
    Action action;
};

void tell(const FailOverModel& model, const std::vector<Action>& actions, Exploration& found) {
    State state = model.initial();
    for (const Action action : actions) {
        found.trace += std::to_string(++found.trace_steps) + ". " +
                       FailOverModel::describe(state, action) + "\n";
        State next{};
        model.apply(state, action, next);
        state = next;
    }
    found.trace += FailOverModel::describe(state) + found.violation + "\n";
}

std::vector<Action> path(const std::vector<Origin>& origins, std::uint32_t to) {
    std::vector<Action> actions;
    for (std::uint32_t at = to; at != 0; at = origins[at].parent) {
        actions.insert(actions.begin(), origins[at].action);
    }
    return actions;
}

/// One level of a search: states and their numbers among all origins.
struct Level {
    std::vector<State> states;
    std::uint32_t first = 0;
};

/// Everything one step behind `from`; false when the search is over.
bool expand(const FailOverModel& model,
            std::uint64_t states_max,
            const Level& from,
            std::pair<Seen, std::vector<Origin>>& all,
            std::pair<Level, Exploration>& result) {
    auto& [seen, origins] = all;
    auto& [next, found] = result;
    next.first = static_cast<std::uint32_t>(origins.size());
    State to{};
    for (std::size_t i = 0; i < from.states.size(); ++i) {
        for (const Action action : model.actions()) {
            if (!model.apply(from.states[i], action, to)) {
                continue;
            }
            ++found.transitions;
            if (!seen.add(hash(to))) {
                continue;
            }
            origins.push_back({static_cast<std::uint32_t>(from.first + i), action});
            found.violation = model.violation(to);
            if (!found.violation.empty() || origins.size() >= states_max) {
                return false;
            }
            next.states.push_back(to);
        }
    }
    return true;
}

}  // namespace

Exploration explore(const FailOverModel& model, std::uint64_t states_max) {
    std::pair<Seen, std::vector<Origin>> all{{}, {{0, {}}}};
    Level level{{model.initial()}, 0};
    all.first.add(hash(level.states.front()));
    std::pair<Level, Exploration> result;
    Exploration& found = result.second;
    while (!level.states.empty() && expand(model, states_max, level, all, result)) {
        level = std::exchange(result.first, {});
        found.depth += level.states.empty() ? 0 : 1;
    }
    found.states = all.second.size();
    found.is_exhausted = level.states.empty();
    if (!found.violation.empty()) {
        tell(model, path(all.second, static_cast<std::uint32_t>(found.states - 1)), found);
    }
    return found;
}

Exploration walk(const FailOverModel& model,
                 std::uint64_t seed,
                 std::uint64_t walks,
                 std::uint32_t steps_max) {
    std::mt19937_64 random(seed);
    Exploration found;
    const std::vector<Action>& all = model.actions();
    for (std::uint64_t i = 0; i < walks; ++i) {
        State state = model.initial();
        std::vector<Action> taken;
        while (taken.size() < steps_max) {
            // Drawing until one is possible is fair among those that are; none for long is the end.
            State next{};
            std::uint32_t tries = 0;
            Action action{};
            do {
                action = all[random() % all.size()];
            } while (!model.apply(state, action, next) && ++tries < 1'000);
            if (tries == 1'000) {
                break;
            }
            taken.push_back(action);
            state = next;
            ++found.states;
            found.violation = model.violation(state);
            if (!found.violation.empty()) {
                tell(model, taken, found);
                return found;
            }
        }
        found.depth = std::max(found.depth, static_cast<std::uint32_t>(taken.size()));
    }
    found.transitions = found.states;
    return found;
}

}  // namespace gantry::model
