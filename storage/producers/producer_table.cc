// SPDX-License-Identifier: Apache-2.0
#include "storage/producers/producer_table.h"

#include "common/checksum.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace gantry::storage {
namespace {

constexpr std::size_t kForgottenAtOnce = 2;  // more than one append adds

std::string name_of(const NumberedSend& send) {
    return "send " + wire::format_send_number(send.number) + " of " + std::to_string(send.count) +
           " to queue " + std::to_string(send.queue_id) + " of topic " + std::string(send.topic);
}

Error unknown_numbers(const NumberedSend& send) {
    return {Errc::kGone,
            name_of(send) +
                ": the producer's sends to this queue are not known, or not any more "
                "(producer.idle_seconds, limits.producer_queues_max); an epoch begins with 0"};
}

}  // namespace

std::size_t ProducerTable::KeyHash::operator()(const Key& key) const noexcept {
    constexpr std::uint64_t kSpread = 0x9E3779B97F4A7C15ULL;
    const auto queue = static_cast<std::uint64_t>(static_cast<std::uint32_t>(key.queue_id));
    return (key.producer ^ xxh3(as_bytes(key.topic)) ^ (queue * kSpread)) * kSpread;
}

ProducerTable::Key ProducerTable::key_of(const NumberedSend& send) noexcept {
    return {send.number.producer, send.topic, send.queue_id};
}

ProducerTable::Stripe& ProducerTable::stripe_of(const NumberedSend& send) noexcept {
    constexpr unsigned kHighBits = 58;  // the low ones choose the bucket within the stripe
    static_assert(kStripes == std::size_t{1} << (64 - kHighBits));
    return stripes_[KeyHash{}(key_of(send)) >> kHighBits];
}

Result<std::optional<Appended>> ProducerTable::judge_known(const Entry& entry,
                                                           const NumberedSend& send) {
    const std::int64_t sequence = send.number.sequence;
    if (sequence == entry.next) {
        return std::optional<Appended>();
    }
    if (sequence > entry.next) {
        return Error{Errc::kConflict,
                     name_of(send) + ": " + std::to_string(entry.next) + " comes next"};
    }
    for (const Past& past : entry.past) {
        if (past.sequence == sequence && past.stored.count == send.count) {
            Appended stored = past.stored;
            stored.is_repeat = true;
            return std::optional(stored);
        }
    }
    if (!entry.past.empty() && sequence >= entry.past.front().sequence) {
        return Error{Errc::kRefused, name_of(send) + ": its numbers were sent in other frames"};
    }
    return Error{Errc::kUnknown, name_of(send) + ": it was stored before, where is not known"};
}

Result<std::optional<Appended>> ProducerTable::judge(Stripe& stripe,
                                                     const NumberedSend& send,
                                                     WallMs now) {
    now_.store(now, std::memory_order_relaxed);
    forget_idle(stripe, now, kForgottenAtOnce);
    const wire::SendNumber& number = send.number;
    const auto found = stripe.by_key.find(key_of(send));
    if (found != stripe.by_key.end() && number.epoch == found->second->epoch) {
        return judge_known(*found->second, send);
    }
    if (found != stripe.by_key.end() && number.epoch < found->second->epoch) {
        return Error{
            Errc::kGone,
            name_of(send) + ": epoch " + std::to_string(found->second->epoch) + " has begun"};
    }
    if (number.sequence != 0) {
        return unknown_numbers(send);
    }
    if (found == stripe.by_key.end()) {
        GANTRY_TRY(make_room(stripe, now));
    }
    return std::optional<Appended>();
}

void ProducerTable::note(Stripe& stripe, const NumberedSend& send, const Appended& stored) {
    Entry& entry = entry_for(stripe, key_of(send));
    if (entry.epoch != send.number.epoch) {
        entry.epoch = send.number.epoch;
        entry.past.clear();
    }
    entry.next = send.number.sequence + send.count;
    entry.used_ms = stored.store_ms;
    if (entry.past.size() == kFramesKept) {
        entry.past.erase(entry.past.begin());
    }
    Past& past = entry.past.emplace_back(Past{send.number.sequence, stored});
    past.stored.count = send.count;  // of numbers, by which a repeat is told
}

/// The entry of that key, now the last to go.
ProducerTable::Entry& ProducerTable::entry_for(Stripe& stripe, const Key& key) {
    const auto found = stripe.by_key.find(key);
    if (found != stripe.by_key.end()) {
        stripe.entries.splice(stripe.entries.end(), stripe.entries, found->second);
        return *found->second;
    }
    Entry& entry = stripe.entries.emplace_back();
    entry.producer = key.producer;
    entry.topic = key.topic;
    entry.queue_id = key.queue_id;
    stripe.by_key.emplace(entry.key(), std::prev(stripe.entries.end()));
    size_.fetch_add(1, std::memory_order_relaxed);
    return entry;
}

void ProducerTable::erase(Stripe& stripe, Entries::iterator entry) {
    stripe.by_key.erase(entry->key());
    stripe.entries.erase(entry);
    size_.fetch_sub(1, std::memory_order_relaxed);
}

void ProducerTable::forget_idle(Stripe& stripe, WallMs now, std::size_t count_max) {
    while (count_max > 0 && !stripe.entries.empty() &&
           now - stripe.entries.front().used_ms >= limits_.idle_ms) {
        erase(stripe, stripe.entries.begin());
        --count_max;
    }
}

Status ProducerTable::make_room(Stripe& stripe, WallMs now) {
    if (size() < limits_.queues_max) {
        return ok();
    }
    if (stripe.entries.empty() || now - stripe.entries.front().used_ms < kKeptMs) {
        return Error{Errc::kBusy,
                     "numbered sends of " + std::to_string(size()) +
                         " producers and queues are remembered, limits.producer_queues_max " +
                         std::to_string(limits_.queues_max)};
    }
    erase(stripe, stripe.entries.begin());
    return ok();
}

void ProducerTable::replay(const NumberedSend& send, const Appended& stored) {
    Stripe& stripe = stripe_of(send);
    const MutexLock lock(stripe.mutex);
    const auto found = stripe.by_key.find(key_of(send));
    if (found == stripe.by_key.end()) {
        if (size() >= limits_.queues_max && !stripe.entries.empty()) {
            erase(stripe, stripe.entries.begin());
        }
        note(stripe, send, stored);
        return;
    }
    const Entry& entry = *found->second;
    const bool is_later = send.number.epoch > entry.epoch;
    if (is_later || (send.number.epoch == entry.epoch && send.number.sequence >= entry.next)) {
        note(stripe, send, stored);
    }
}

void ProducerTable::remove_topic(std::string_view topic) {
    for (Stripe& stripe : stripes_) {
        const MutexLock lock(stripe.mutex);
        for (auto at = stripe.entries.begin(); at != stripe.entries.end();) {
            const auto entry = at++;
            if (entry->topic == topic) {
                erase(stripe, entry);
            }
        }
    }
}

void ProducerTable::remove_behind(LogOffset end) {
    for (Stripe& stripe : stripes_) {
        const MutexLock lock(stripe.mutex);
        for (auto at = stripe.entries.begin(); at != stripe.entries.end();) {
            const auto entry = at++;
            std::vector<Past>& past = entry->past;
            while (!past.empty() && past.back().stored.end > end) {
                entry->next = past.back().sequence;
                past.pop_back();
            }
            if (past.empty()) {
                erase(stripe, entry);
            }
        }
    }
}

void ProducerTable::save(wire::ProducerStates& states) {
    std::map<std::string, std::int32_t, std::less<>> index_of;
    LogOffset end;
    for (Stripe& stripe : stripes_) {
        const MutexLock lock(stripe.mutex);
        forget_idle(stripe, now_.load(std::memory_order_relaxed), stripe.entries.size());
        for (const Entry& entry : stripe.entries) {
            const auto topic = index_of.try_emplace(entry.topic, states.topics_size());
            if (topic.second) {
                states.add_topics(entry.topic);
            }
            wire::ProducerQueue& saved = *states.add_queues();
            saved.set_producer(entry.producer);
            saved.set_epoch(entry.epoch);
            saved.set_topic(topic.first->second);
            saved.set_queueid(entry.queue_id);
            saved.set_next(entry.next);
            saved.set_usedtime(entry.used_ms);
            for (const Past& past : entry.past) {
                wire::NumberedFrame& frame = *saved.add_frames();
                frame.set_sequence(past.sequence);
                frame.set_count(past.stored.count);
                frame.set_logoffset(past.stored.first.value);
                frame.set_end(past.stored.end.value);
                frame.set_queueoffset(past.stored.queue_offset.value);
                frame.set_storetime(past.stored.store_ms);
                end = std::max(end, past.stored.end);
            }
        }
    }
    states.set_end(end.value);
}

Status ProducerTable::restore(const wire::ProducerStates& states) {
    for (const wire::ProducerQueue& saved : states.queues()) {
        if (saved.topic() < 0 || saved.topic() >= states.topics_size() || saved.queueid() < 0 ||
            saved.next() < 0) {
            return Error{Errc::kCorrupt,
                         "producer of queue " + std::to_string(saved.queueid()) + ", topic " +
                             std::to_string(saved.topic()) + " of " +
                             std::to_string(states.topics_size()) + ", next " +
                             std::to_string(saved.next())};
        }
        NumberedSend send;
        send.number.producer = saved.producer();
        send.topic = states.topics(saved.topic());
        send.queue_id = saved.queueid();
        Stripe& stripe = stripe_of(send);
        const MutexLock lock(stripe.mutex);
        Entry& entry = entry_for(stripe, key_of(send));
        entry.epoch = saved.epoch();
        entry.next = saved.next();
        entry.used_ms = saved.usedtime();
        for (const wire::NumberedFrame& frame : saved.frames()) {
            Appended stored;
            stored.first = LogOffset(frame.logoffset());
            stored.end = LogOffset(frame.end());
            stored.queue_offset = QueueOffset(frame.queueoffset());
            stored.count = frame.count();
            stored.store_ms = frame.storetime();
            entry.past.push_back({frame.sequence(), stored});
        }
    }
    return ok();
}

}  // namespace gantry::storage
