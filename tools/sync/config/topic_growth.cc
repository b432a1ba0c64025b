// SPDX-License-Identifier: Apache-2.0
#include "sync/config/topic_growth.h"

#include "protocol/wire/names.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

namespace gantry::sync {
namespace {

constexpr std::size_t kShown = 3;

/// A topic of a cluster, and where it came from.
struct Step {
    std::string cluster;
    std::string topic;
    std::size_t before = 0;  ///< itself: the first
};

/// A name that the pattern fits.
std::string example_of(std::string pattern) {
    std::replace(pattern.begin(), pattern.end(), '*', 'x');
    std::replace(pattern.begin(), pattern.end(), '?', 'x');
    return pattern;
}

/// The different names on the way to a step, the first one first.
std::vector<std::string> names_on_way(const std::vector<Step>& steps, std::size_t at) {
    std::vector<std::string> names{steps[at].topic};
    while (steps[at].before != at) {
        at = steps[at].before;
        if (names.back() != steps[at].topic) {
            names.push_back(steps[at].topic);
        }
    }
    std::reverse(names.begin(), names.end());
    return names;
}

}  // namespace

std::optional<std::string> find_topic_growth(const std::vector<RouteConfig>& routes) {
    std::vector<Step> steps;
    std::vector<std::size_t> open;  // the last first: what grows comes to its end soon
    std::set<std::pair<std::string, std::string>> seen;
    const auto add = [&](const std::string& cluster, const std::string& topic, std::size_t before) {
        if (seen.emplace(cluster, topic).second) {
            open.push_back(steps.size());
            steps.push_back({cluster, topic, before});
        }
    };
    for (const RouteConfig& route : routes) {
        for (const std::string& pattern : route.topics) {
            add(route.from, example_of(pattern), steps.size());
        }
    }
    while (!open.empty()) {
        const std::size_t at = open.back();
        open.pop_back();
        for (const RouteConfig& route : routes) {
            const Step from = steps[at];
            if (route.from != from.cluster || !route.create_topics || !route.takes(from.topic)) {
                continue;
            }
            const std::string target = route.target_of(from.topic);
            if (wire::check_topic_name(target)) {
                add(route.to, target, at);
                continue;
            }
            // Too long. By so many steps: it comes back ever longer.
            const std::vector<std::string> names = names_on_way(steps, at);
            if (names.size() > kShown) {
                return "route \"" + route.name + "\" makes topics without end: " + names[0] + ", " +
                       names[1] + ", " + names[2] + ", ...; exclude what has been renamed";
            }
        }
    }
    return std::nullopt;
}

}  // namespace gantry::sync
