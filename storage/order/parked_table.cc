// SPDX-License-Identifier: Apache-2.0
#include "storage/order/parked_table.h"

#include <iterator>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::size_t kNameBytesMax = 255;

Status refused(std::string_view field, std::int64_t value, std::string_view limit) {
    return Error{Errc::kRefused,
                 "parked key: " + std::string(field) + ' ' + std::to_string(value) + " is not " +
                     std::string(limit)};
}

template <class Message>
Status check_name(const Message& name) {
    const auto size = [](const std::string& text) {
        return static_cast<std::int64_t>(text.size());
    };
    if (name.group().empty() || name.group().size() > kNameBytesMax) {
        return refused("group length", size(name.group()), "within 1 to 255 B");
    }
    if (name.topic().empty() || name.topic().size() > kNameBytesMax) {
        return refused("topic length", size(name.topic()), "within 1 to 255 B");
    }
    if (name.queueid() < 0) {
        return refused("queueId", name.queueid(), "0 or more");
    }
    if (name.key().empty() || name.key().size() > ParkedTable::kKeyBytesMax) {
        return refused("key length", size(name.key()), "within 1 to 1024 B");
    }
    return ok();
}

template <class Message>
Status check_offsets(const Message& parked) {
    if (parked.offsets().empty()) {
        return refused("number of offsets", 0, "1 or more");
    }
    std::int64_t before = -1;
    for (const std::int64_t offset : parked.offsets()) {
        if (offset <= before) {
            return refused("offset", offset, "above the one before it, or 0 or more");
        }
        before = offset;
    }
    return ok();
}

}  // namespace

Status ParkedTable::check(const wire::ParkedPut& put) {
    GANTRY_TRY(check_name(put));
    return check_offsets(put);
}

Status ParkedTable::check(const wire::ParkedChange& change) {
    GANTRY_TRY(check_name(change));
    if (change.action() < kReleased || change.action() > kDropped) {
        return refused("action", change.action(), "within 1 to 4");
    }
    return ok();
}

void ParkedTable::apply(const wire::ParkedPut& put, WallMs at_ms) {
    const auto [at, is_new] =
        keys_.try_emplace(Key(put.group(), put.topic(), put.queueid(), put.key()));
    Parked& parked = at->second;
    if (is_new) {
        parked.since_ms = at_ms;
    }
    for (const std::int64_t offset : put.offsets()) {
        if (parked.offsets.empty() || offset > parked.offsets.back()) {
            parked.offsets.push_back(offset);
            ++messages_;
        }
    }
}

void ParkedTable::apply(const wire::ParkedChange& change) {
    const auto at = keys_.find(Key(change.group(), change.topic(), change.queueid(), change.key()));
    if (at == keys_.end()) {
        return;
    }
    Parked& parked = at->second;
    switch (change.action()) {
        case kReleased:
        case kHeld:
            parked.is_released = change.action() == kReleased;
            return;
        case kDone:
            if (parked.offsets.front() == change.offset()) {
                parked.offsets.pop_front();
                --messages_;
            }
            if (parked.offsets.empty()) {
                keys_.erase(at);
            }
            return;
        default:
            erase(at);
            return;
    }
}

void ParkedTable::erase(Keys::iterator at) {
    messages_ -= at->second.offsets.size();
    keys_.erase(at);
}

ParkedInfo ParkedTable::info_of(const Keys::value_type& entry) {
    const auto& [name, parked] = entry;
    return {std::get<1>(name),
            std::get<2>(name),
            std::get<3>(name),
            parked.offsets.size(),
            parked.offsets.front(),
            parked.offsets.back(),
            parked.since_ms,
            parked.is_released};
}

std::optional<ParkedInfo> ParkedTable::find(const ParkedName& name) const {
    const auto at = keys_.find(Key(name.group, name.topic, name.queue_id, name.key));
    return at == keys_.end() ? std::nullopt : std::optional(info_of(*at));
}

std::vector<ParkedInfo> ParkedTable::list(std::string_view group,
                                          std::string_view topic,
                                          std::int32_t queue_id) const {
    std::vector<ParkedInfo> all;
    const Key from(group, topic, topic.empty() ? 0 : queue_id, "");
    for (auto at = keys_.lower_bound(from); at != keys_.end(); ++at) {
        const bool is_of_queue =
            std::get<1>(at->first) == topic && std::get<2>(at->first) == queue_id;
        if (std::get<0>(at->first) != group || (!topic.empty() && !is_of_queue)) {
            break;
        }
        all.push_back(info_of(*at));
    }
    return all;
}

template <class Doomed>
void ParkedTable::remove_if(Doomed doomed) {
    for (auto at = keys_.begin(); at != keys_.end();) {
        const auto next = std::next(at);
        if (doomed(at->first)) {
            erase(at);
        }
        at = next;
    }
}

void ParkedTable::remove_topic(std::string_view topic) {
    remove_if([topic](const Key& key) { return std::get<1>(key) == topic; });
}

void ParkedTable::remove_group(std::string_view group) {
    remove_if([group](const Key& key) { return std::get<0>(key) == group; });
}

void ParkedTable::save(wire::StateSnapshot& snapshot) const {
    for (const auto& [name, parked] : keys_) {
        wire::ParkedKey& saved = *snapshot.mutable_order()->add_parked();
        saved.set_group(std::get<0>(name));
        saved.set_topic(std::get<1>(name));
        saved.set_queueid(std::get<2>(name));
        saved.set_key(std::get<3>(name));
        saved.set_isreleased(parked.is_released);
        saved.set_since(parked.since_ms);
        saved.mutable_offsets()->Add(parked.offsets.begin(), parked.offsets.end());
    }
}

Status ParkedTable::restore(const wire::StateSnapshot& snapshot) {
    for (const wire::ParkedKey& saved : snapshot.order().parked()) {
        Status legal = check_name(saved);
        legal = legal ? check_offsets(saved) : legal;
        if (!legal) {
            return Error{Errc::kCorrupt, "state snapshot: " + legal.error().detail};
        }
        Parked& parked = keys_[Key(saved.group(), saved.topic(), saved.queueid(), saved.key())];
        parked.offsets.assign(saved.offsets().begin(), saved.offsets().end());
        parked.since_ms = saved.since();
        parked.is_released = saved.isreleased();
        messages_ += parked.offsets.size();
    }
    return ok();
}

}  // namespace gantry::storage
