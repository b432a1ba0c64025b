// SPDX-License-Identifier: Apache-2.0
#include "broker/assignment/share_coordinator.h"

#include "broker/assignment/share_plan.h"
#include "common/log.h"

#include <algorithm>

namespace gantry::broker {
namespace {

constexpr Logger kLog("broker");
constexpr unsigned kNumbersPerMsBits = 20;
constexpr std::int64_t kClockErrorMs = 86'400'000;
constexpr int kGraceParts = 5;  // of a heartbeat, for a lost connection to come back

/// Numbers begin at the time of the start, so that they go on growing across restarts.
std::int64_t number_at(WallMs ms) {
    return ms << kNumbersPerMsBits;
}

}  // namespace

ShareCoordinator::ShareCoordinator(const Clock& clock, Options options)
    : clock_(clock),
      options_(std::move(options)),
      started_(clock.steady()),
      last_number_(number_at(clock.wall_ms())) {}

ShareCoordinator::Group& ShareCoordinator::group_of(const std::string& name) {
    const auto [at, is_new] = groups_.try_emplace(name);
    if (is_new && options_.groups_at_start.contains(name)) {
        at->second.settles = started_ + options_.heartbeat;
    }
    return at->second;
}

void ShareCoordinator::update_mode(const std::string& name, Group& group) {
    const GroupView view = options_.view_of(name);
    if (view.has_client_side == group.is_by_clients) {
        return;
    }
    group.is_by_clients = view.has_client_side;
    kLog.info(
        "group_shares",
        {{"group", name}, {"by", std::string_view(group.is_by_clients ? "clients" : "broker")}});
    if (group.is_by_clients) {
        group.topics.clear();
        return;
    }
    const bool all_told = std::all_of(
        view.members.begin(), view.members.end(), [&group](const std::string& client_id) {
            return group.members.contains(client_id);
        });
    const SteadyTime now = clock_.steady();
    group.settles = all_told ? now : now + options_.heartbeat;
    fit_queues(group);
    for (auto& [client_id, member] : group.members) {
        for (const ShareHolding& held : std::exchange(member.claims, {})) {
            claim(group, client_id, held);
        }
    }
}

void ShareCoordinator::fit_queues(Group& group) {
    for (const auto& [client_id, member] : group.members) {
        for (const auto& [topic, subscribed] : member.topics) {
            group.topics.try_emplace(topic);
        }
    }
    for (auto& [topic, queues] : group.topics) {
        queues.resize(static_cast<std::size_t>(std::max(options_.queues_of(topic), 0)));
    }
}

ShareCoordinator::Queue* ShareCoordinator::find(Group& group, const ShareHolding& which) {
    const auto topic = group.topics.find(which.topic);
    if (topic == group.topics.end() || which.queue_id < 0 ||
        static_cast<std::size_t>(which.queue_id) >= topic->second.size()) {
        return nullptr;
    }
    return &topic->second[static_cast<std::size_t>(which.queue_id)];
}

void ShareCoordinator::grant(Queue& queue, const std::string& client_id) {
    queue = Queue{client_id, ++last_number_, last_number_, false};
    ++granted_;
}

/// Something held that is not granted: from before a restart, a silence, or by its own computing.
void ShareCoordinator::claim(Group& group, const std::string& client_id, const ShareHolding& held) {
    Queue* const queue = find(group, held);
    if (queue == nullptr || (queue->owner == client_id && queue->token == held.token) ||
        held.token < 0 || held.token > number_at(clock_.wall_ms() + kClockErrorMs)) {
        return;
    }
    if (held.token == 0) {
        if (queue->owner.empty() && queue->token == 0) {
            grant(*queue, client_id);
        }
        return;
    }
    const bool is_newest = is_settling(group) && held.token > queue->token;
    if (is_newest || (queue->owner.empty() && held.token >= queue->fence)) {
        *queue = Queue{client_id, held.token, held.token, false};
        last_number_ = std::max(last_number_, held.token);
    }
}

void ShareCoordinator::release(Group& group,
                               const std::string& client_id,
                               const ShareHolding& released) {
    Queue* const queue = find(group, released);
    if (queue != nullptr && queue->owner == client_id && queue->token == released.token) {
        queue->owner.clear();
        queue->is_revoked = false;
        queue->fence = queue->token + 1;
    }
}

void ShareCoordinator::free_all(Group& group, const std::string& client_id, bool was_released) {
    for (auto& [topic, queues] : group.topics) {
        for (Queue& queue : queues) {
            if (queue.owner == client_id) {
                queue.owner.clear();
                queue.is_revoked = false;
                queue.fence = was_released ? queue.token + 1 : queue.token;
            }
        }
    }
}

/// Client ids in order.
std::vector<const std::string*> ShareCoordinator::readers_of(const Group& group,
                                                             const std::string& topic) {
    std::vector<std::pair<const std::string*, const ShareBreadth*>> all;
    std::vector<const ShareBreadth*> breadths;  // that differ: hardly ever more than two
    for (const auto& [client_id, member] : group.members) {
        const auto at = member.topics.find(topic);
        if (at == member.topics.end()) {
            continue;
        }
        const ShareBreadth& breadth = at->second.breadth;
        all.emplace_back(&client_id, &breadth);
        if (std::none_of(breadths.begin(), breadths.end(), [&breadth](const auto* each) {
                return *each == breadth;
            })) {
            breadths.push_back(&breadth);
        }
    }
    std::vector<const std::string*> readers;
    for (const auto& [client_id, breadth] : all) {
        const bool is_narrow =
            std::any_of(breadths.begin(), breadths.end(), [own = breadth](const auto* each) {
                return each->covers(*own) && !own->covers(*each);
            });
        if (!is_narrow) {
            readers.push_back(client_id);
        }
    }
    return readers;
}

void ShareCoordinator::plan(Group& group, const std::string& topic, std::vector<Queue>& queues) {
    const std::vector<const std::string*> readers = readers_of(group, topic);
    SharePlanInput input;
    std::size_t queues_before = 0;
    for (const std::string* const client_id : readers) {
        const ShareAsk::Topic& subscribed = group.members.at(*client_id).topics.at(topic);
        queues_before = std::max(queues_before, subscribed.queues_before);
        input.is_only_here = input.is_only_here && subscribed.is_only_here;
    }
    const auto place_of = [&readers](const std::string& client_id) {
        const auto at = std::lower_bound(
            readers.begin(), readers.end(), client_id, [](const auto* each, const auto& wanted) {
                return *each < wanted;
            });
        return at == readers.end() || **at != client_id
                   ? kNobody
                   : static_cast<std::size_t>(at - readers.begin());
    };
    input.members = readers.size();
    input.first = first_member(topic, queues_before, readers.size());
    for (const Queue& queue : queues) {
        input.owners.push_back(queue.owner.empty() || queue.is_revoked ? kNobody
                                                                       : place_of(queue.owner));
    }
    const std::vector<std::size_t> planned = plan_shares(input);
    for (std::size_t i = 0; i < queues.size(); ++i) {
        Queue& queue = queues[i];
        if (!queue.owner.empty()) {
            // What is told to go goes: its owner may have stopped reading it already.
            queue.is_revoked =
                queue.is_revoked || planned[i] == kNobody || *readers[planned[i]] != queue.owner;
        } else if (planned[i] != kNobody && !is_settling(group)) {
            grant(queue, *readers[planned[i]]);
        }
    }
}

Share ShareCoordinator::share_in(const Group& group, const std::string& client_id) {
    Share share;
    share.is_by_clients = group.is_by_clients;
    for (const auto& [topic, queues] : group.topics) {
        for (std::size_t i = 0; i < queues.size(); ++i) {
            if (queues[i].owner == client_id) {
                share.queues.push_back(
                    {topic, static_cast<std::int32_t>(i), queues[i].token, queues[i].is_revoked});
            }
        }
    }
    return share;
}

void ShareCoordinator::replan(const std::string& name, Group& group, Changed& changed) {
    if (!group.is_by_clients) {
        fit_queues(group);
        for (auto& [topic, queues] : group.topics) {
            plan(group, topic, queues);
        }
    }
    for (auto& [client_id, member] : group.members) {
        Share share = share_in(group, client_id);
        if (member.share.generation != 0 && share.is_by_clients == member.share.is_by_clients &&
            share.queues == member.share.queues) {
            continue;
        }
        share.generation = ++last_number_;
        member.share = std::move(share);
        changed.emplace_back(name, client_id);
    }
}

ShareCoordinator::Changed ShareCoordinator::ask(const ShareAsk& ask) {
    Changed changed;
    if (ask.leaves && !groups_.contains(ask.group)) {
        return changed;
    }
    Group& group = group_of(ask.group);
    update_mode(ask.group, group);
    if (ask.generation == 0 && ask.held.empty()) {
        free_all(group, ask.client_id, false);  // another process under the same name
    }
    Member& member = group.members[ask.client_id];
    member.peer = ask.peer;
    member.until = clock_.steady() + 2 * options_.heartbeat;
    member.topics.clear();
    for (const ShareAsk::Topic& topic : ask.topics) {
        member.topics[topic.name] = topic;
    }
    if (group.is_by_clients) {
        member.claims = ask.held;
    } else {
        fit_queues(group);
        for (const ShareHolding& held : ask.held) {
            claim(group, ask.client_id, held);
        }
        for (const ShareHolding& released : ask.released) {
            release(group, ask.client_id, released);
        }
    }
    if (ask.leaves) {
        free_all(group, ask.client_id, true);
        group.members.erase(ask.client_id);
    }
    replan(ask.group, group, changed);
    if (group.members.empty()) {
        group.empty_since = clock_.steady();
    }
    return changed;
}

ShareCoordinator::Changed ShareCoordinator::group_changed(const std::string& name) {
    Changed changed;
    const auto at = groups_.find(name);
    if (at != groups_.end()) {
        update_mode(name, at->second);
        replan(name, at->second, changed);
    }
    return changed;
}

void ShareCoordinator::peer_closed(PeerId peer) {
    const SteadyTime until = clock_.steady() + options_.heartbeat / kGraceParts;
    for (auto& [name, group] : groups_) {
        for (auto& [client_id, member] : group.members) {
            if (member.peer == peer) {
                member.until = std::min(member.until, until);
            }
        }
    }
}

ShareCoordinator::Changed ShareCoordinator::sweep() {
    Changed changed;
    const SteadyTime now = clock_.steady();
    for (auto at = groups_.begin(); at != groups_.end();) {
        Group& group = at->second;
        bool is_due = group.settles != SteadyTime{} && group.settles <= now;
        if (is_due) {
            group.settles = SteadyTime{};
        }
        for (auto member = group.members.begin(); member != group.members.end();) {
            if (member->second.until > now) {
                ++member;
                continue;
            }
            kLog.warn("share_member_silent", {{"group", at->first}, {"client", member->first}});
            free_all(group, member->first, false);
            member = group.members.erase(member);
            group.empty_since = now;
            ++expired_;
            is_due = true;
        }
        if (is_due) {
            replan(at->first, group, changed);
        }
        const bool is_over = group.members.empty() && now - group.empty_since >= kForget;
        at = is_over ? groups_.erase(at) : std::next(at);
    }
    return changed;
}

Share ShareCoordinator::share_of(const MemberId& member) const {
    const auto group = groups_.find(member.first);
    if (group == groups_.end()) {
        return {};
    }
    const auto at = group->second.members.find(member.second);
    return at == group->second.members.end() ? Share{} : at->second.share;
}

bool ShareCoordinator::may_commit(std::string_view group,
                                  std::string_view topic,
                                  std::int32_t queue_id,
                                  std::int64_t token) const {
    const auto at = groups_.find(group);
    if (at == groups_.end() || at->second.is_by_clients) {
        return true;
    }
    const auto queues = at->second.topics.find(topic);
    if (queues == at->second.topics.end() || queue_id < 0 ||
        static_cast<std::size_t>(queue_id) >= queues->second.size()) {
        return true;
    }
    return token >= queues->second[static_cast<std::size_t>(queue_id)].fence;
}

std::vector<ShareCoordinator::Owned> ShareCoordinator::owners(std::string_view group) const {
    std::vector<Owned> owned;
    const auto at = groups_.find(group);
    if (at == groups_.end() || at->second.members.empty()) {
        return owned;
    }
    for (const auto& [topic, queues] : at->second.topics) {
        for (std::size_t i = 0; i < queues.size(); ++i) {
            const Queue& queue = queues[i];
            owned.push_back({queue.owner,
                             {topic, static_cast<std::int32_t>(i), queue.token, queue.is_revoked}});
        }
    }
    return owned;
}

bool ShareCoordinator::is_by_clients(std::string_view group) const {
    const auto at = groups_.find(group);
    return at != groups_.end() && at->second.is_by_clients;
}

}  // namespace gantry::broker
