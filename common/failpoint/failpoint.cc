// SPDX-License-Identifier: Apache-2.0
#include "common/failpoint/failpoint.h"

#include "common/mutex.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <unistd.h>

namespace gantry::failpoint {
namespace {

using Action = Rule::Action;

/// What is set for one place.
struct Armed {
    Rule rule;
    std::uint64_t passes = 0;
};

struct State {
    Mutex mutex;
    std::array<Armed, kSites.size()> sites GANTRY_GUARDED_BY(mutex);
};

State& state() {
    static State all;
    return all;
}

std::size_t find(std::string_view name) noexcept {
    const std::size_t fails = index_of(name, true);
    return fails < kSites.size() ? fails : index_of(name, false);
}

Error no_such_site(std::string_view name) {
    std::string text = "no failpoint \"" + std::string(name) + "\"; there are";
    for (const Site& site : kSites) {
        text += ' ';
        text += site.name;
    }
    return {Errc::kNotFound, text};
}

Error bad_rule(std::string_view text) {
    return {Errc::kRefused,
            "failpoint rule \"" + std::string(text) +
                "\" is not place=kill|error[:class]|delay:ms|off[@n[+]]"};
}

template <class Number>
bool parse_number(std::string_view text, Number* number) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), *number);
    return failed == std::errc() && end == text.data() + text.size();
}

bool parse_action(std::string_view text, Rule* rule) {
    const std::string_view name = text.substr(0, text.find(':'));
    const std::string_view argument = text.substr(std::min(text.size(), name.size() + 1));
    if (name == "delay") {
        rule->action = Action::kDelay;
        return parse_number(argument, &rule->delay_ms);
    }
    if (name == "error") {
        rule->action = Action::kError;
        for (std::size_t i = 0; i < kErrcCount; ++i) {
            if (argument == to_string(static_cast<Errc>(i))) {
                rule->code = static_cast<Errc>(i);
                return true;
            }
        }
        return argument.empty();
    }
    rule->action = name == "kill" ? Action::kKill : Action::kOff;
    return argument.empty() && (name == "kill" || name == "off");
}

Status set_one(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
        return text == "list" ? no_such_site(text) : bad_rule(text);
    }
    std::string_view action = text.substr(equals + 1);
    Rule rule;
    if (const std::size_t at = action.find('@'); at != std::string_view::npos) {
        std::string_view nth = action.substr(at + 1);
        action = action.substr(0, at);
        rule.stays = nth.ends_with('+');
        nth.remove_suffix(rule.stays ? 1 : 0);
        if (!parse_number(nth, &rule.nth) || rule.nth == 0) {
            return bad_rule(text);
        }
    }
    if (!parse_action(action, &rule)) {
        return bad_rule(text);
    }
    return set(text.substr(0, equals), rule);
}

}  // namespace

bool is_built_in() noexcept {
#if defined(GANTRY_NO_FAILPOINTS)
    return false;
#else
    return true;
#endif
}

Status set(std::string_view name, const Rule& rule) {
    if (!is_built_in()) {
        return Error{Errc::kUnsupported, "this build has no failpoints (GANTRY_FAILPOINTS)"};
    }
    const std::size_t site = find(name);
    if (site == kSites.size()) {
        return no_such_site(name);
    }
    if (rule.action == Action::kError && !kSites[site].can_fail) {
        return Error{Errc::kRefused, "failpoint " + std::string(name) + " cannot return an error"};
    }
    const MutexLock lock(state().mutex);
    state().sites[site] = {rule, 0};
    internal::is_any_set.store(true, std::memory_order_relaxed);
    return ok();
}

void clear() {
    const MutexLock lock(state().mutex);
    state().sites = {};
    internal::is_any_set.store(false, std::memory_order_relaxed);
}

std::uint64_t passes(std::string_view name) {
    const std::size_t site = find(name);
    const MutexLock lock(state().mutex);
    return site < kSites.size() ? state().sites[site].passes : 0;
}

Status set_from_text(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        GANTRY_TRY(set_one(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return ok();
}

Status set_from_environment() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here changes the environment
    const char* const text = std::getenv("GANTRY_FAILPOINTS");
    return text != nullptr ? set_from_text(text) : ok();
}

Status internal::pass(std::size_t site) {
    Rule rule;
    {
        const MutexLock lock(state().mutex);
        Armed& armed = state().sites[site];
        rule = armed.rule;
        ++armed.passes;
        if (armed.passes != rule.nth && !(rule.stays && armed.passes > rule.nth)) {
            return ok();
        }
    }
    switch (rule.action) {
        case Action::kOff:
            break;
        case Action::kError:
            return Error{rule.code, "failpoint " + std::string(kSites[site].name)};
        case Action::kDelay:
            std::this_thread::sleep_for(std::chrono::milliseconds(rule.delay_ms));
            break;
        case Action::kKill:
            static_cast<void>(::kill(::getpid(), SIGKILL));
            for (;;) {
                ::pause();
            }
    }
    return ok();
}

}  // namespace gantry::failpoint
