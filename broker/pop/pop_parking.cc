// SPDX-License-Identifier: Apache-2.0
#include "broker/pop/pop_parking.h"

#include <set>
#include <utility>

namespace gantry::broker {

PopParking::PopParking(net::EventLoop& loop, const Clock& clock, PopReader& reader)
    : clock_(clock), reader_(reader), sweep_timer_(loop, [this] { sweep(); }) {}

void PopParking::park(PopQuery query) {
    ByTopic& waiting = by_topic_[query.topic->name()];
    waiting.parked.emplace(next_id_++, std::move(query));
    count_.fetch_add(1, std::memory_order_seq_cst);
    if (!is_sweeping_) {
        is_sweeping_ = true;
        sweep_timer_.start_every(kSweep);
    }
}

bool PopParking::touch(std::string_view topic) {
    if (!has_parked()) {
        return false;
    }
    const auto at = by_topic_.find(topic);
    if (at == by_topic_.end() || at->second.parked.empty()) {
        return false;
    }
    if (!at->second.is_touched) {
        at->second.is_touched = true;
        touched_.push_back(at->first);
    }
    return true;
}

std::size_t PopParking::wake_touched() {
    std::size_t tried = 0;
    for (const std::string_view topic : std::exchange(touched_, {})) {
        ByTopic& waiting = by_topic_[topic];
        waiting.is_touched = false;
        tried += wake(waiting);
    }
    return tried;
}

std::size_t PopParking::wake(ByTopic& waiting) {
    std::set<std::pair<std::string_view, std::int32_t>> found_nothing;
    std::size_t tried = 0;
    for (auto at = waiting.parked.begin(); at != waiting.parked.end();) {
        PopQuery& query = at->second;
        if (found_nothing.contains({query.group, query.queue_id})) {
            ++at;
            continue;
        }
        ++tried;
        if (reader_.try_answer(query, false)) {
            at = waiting.parked.erase(at);
            took(1);
        } else {
            found_nothing.emplace(query.group, query.queue_id);
            ++at;
        }
    }
    return tried;
}

void PopParking::took(std::size_t count) {
    count_.fetch_sub(count, std::memory_order_seq_cst);
}

void PopParking::drop_peer(PeerId peer) {
    if (!has_parked()) {
        return;
    }
    for (auto& [topic, waiting] : by_topic_) {
        took(std::erase_if(waiting.parked,
                           [peer](const auto& each) { return each.second.to.peer == peer; }));
    }
}

void PopParking::end(std::vector<PopQuery> queries) {
    for (PopQuery& query : queries) {
        reader_.try_answer(query, true);
    }
}

void PopParking::answer_all() {
    std::vector<PopQuery> all;
    for (auto& [topic, waiting] : by_topic_) {
        for (auto& [id, query] : waiting.parked) {
            all.push_back(std::move(query));
        }
        took(std::exchange(waiting.parked, {}).size());
    }
    end(std::move(all));
}

void PopParking::sweep() {
    const SteadyTime now = clock_.steady();
    std::vector<PopQuery> over;
    for (auto at = by_topic_.begin(); at != by_topic_.end();) {
        ByTopic& waiting = at->second;
        wake(waiting);
        for (auto query = waiting.parked.begin(); query != waiting.parked.end();) {
            if (query->second.until > now) {
                ++query;
                continue;
            }
            over.push_back(std::move(query->second));
            query = waiting.parked.erase(query);
            took(1);
        }
        at = waiting.parked.empty() && !waiting.is_touched ? by_topic_.erase(at) : std::next(at);
    }
    end(std::move(over));
    if (!has_parked()) {
        sweep_timer_.cancel();
        is_sweeping_ = false;
    }
}

}  // namespace gantry::broker
