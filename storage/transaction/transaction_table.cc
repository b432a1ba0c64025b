// SPDX-License-Identifier: Apache-2.0
#include "storage/transaction/transaction_table.h"

#include <algorithm>

namespace gantry::storage {

OpenTransaction TransactionTable::describe(const Entries::value_type& entry) {
    const Entry& at = entry.second;
    return {entry.first,
            at.queue_offset,
            at.store_ms,
            at.asked_ms,
            at.asked,
            at.immunity_ms,
            at.group->first};
}

void TransactionTable::set_due(Entries::value_type& entry, WallMs due_ms) {
    if (entry.second.due_ms != kNever) {
        due_.erase({entry.second.due_ms, entry.first});
    }
    entry.second.due_ms = due_ms;
    if (due_ms != kNever) {
        due_.emplace(due_ms, entry.first);
    }
}

void TransactionTable::open(const OpenTransaction& transaction) {
    const MutexLock lock(mutex_);
    const auto [at, is_new] = entries_.try_emplace(transaction.half);
    if (!is_new) {
        return;
    }
    Entry& entry = at->second;
    entry.queue_offset = transaction.queue_offset;
    entry.store_ms = transaction.store_ms;
    entry.asked_ms = transaction.asked_ms;
    entry.asked = transaction.asked;
    entry.immunity_ms = transaction.immunity_ms;
    entry.group = groups_.try_emplace(transaction.group, 0).first;
    ++entry.group->second;
}

bool TransactionTable::close(LogOffset half) {
    const MutexLock lock(mutex_);
    const auto at = entries_.find(half);
    if (at == entries_.end()) {
        return false;
    }
    set_due(*at, kNever);
    const Groups::iterator group = at->second.group;
    if (--group->second == 0) {
        groups_.erase(group);
    }
    entries_.erase(at);
    return true;
}

void TransactionTable::asked(LogOffset half, WallMs at_ms) {
    const MutexLock lock(mutex_);
    const auto at = entries_.find(half);
    if (at != entries_.end()) {
        at->second.asked_ms = at_ms;
        ++at->second.asked;
    }
}

std::optional<OpenTransaction> TransactionTable::find(LogOffset half) const {
    const MutexLock lock(mutex_);
    const auto at = entries_.find(half);
    return at == entries_.end() ? std::nullopt : std::optional(describe(*at));
}

std::vector<OpenTransaction> TransactionTable::list(LogOffset from, std::size_t count_max) const {
    const MutexLock lock(mutex_);
    std::vector<OpenTransaction> found;
    for (auto at = entries_.lower_bound(from); at != entries_.end() && found.size() < count_max;
         ++at) {
        found.push_back(describe(*at));
    }
    return found;
}

std::size_t TransactionTable::size() const {
    const MutexLock lock(mutex_);
    return entries_.size();
}

std::optional<OpenTransaction> TransactionTable::oldest() const {
    const MutexLock lock(mutex_);
    return entries_.empty() ? std::nullopt : std::optional(describe(*entries_.begin()));
}

void TransactionTable::schedule(LogOffset half, WallMs due_ms) {
    const MutexLock lock(mutex_);
    const auto at = entries_.find(half);
    if (at != entries_.end()) {
        set_due(*at, due_ms);
    }
}

std::vector<OpenTransaction> TransactionTable::take_due(WallMs now_ms, std::size_t count_max) {
    const MutexLock lock(mutex_);
    std::vector<OpenTransaction> found;
    while (!due_.empty() && due_.begin()->first <= now_ms && found.size() < count_max) {
        const auto at = entries_.find(due_.begin()->second);
        found.push_back(describe(*at));
        set_due(*at, kNever);
    }
    return found;
}

WallMs TransactionTable::next_due() const {
    const MutexLock lock(mutex_);
    return due_.empty() ? kNever : due_.begin()->first;
}

void TransactionTable::save(wire::StateSnapshot& snapshot) const {
    const MutexLock lock(mutex_);
    std::map<std::string_view, std::int32_t> index_of;
    for (const auto& [group, count] : groups_) {
        index_of.emplace(group, snapshot.transactiongroups_size());
        snapshot.add_transactiongroups(group);
    }
    for (const auto& [half, entry] : entries_) {
        wire::OpenTransaction& saved = *snapshot.add_transactions();
        saved.set_half(half.value);
        saved.set_queueoffset(entry.queue_offset.value);
        saved.set_storetime(entry.store_ms);
        saved.set_askedtime(entry.asked_ms);
        saved.set_asked(entry.asked);
        saved.set_immunity(entry.immunity_ms);
        saved.set_group(index_of[entry.group->first]);
    }
}

Status TransactionTable::restore(const wire::StateSnapshot& snapshot) {
    for (const wire::OpenTransaction& saved : snapshot.transactions()) {
        if (saved.half() < 0 || saved.queueoffset() < 0 || saved.group() < 0 ||
            saved.group() >= snapshot.transactiongroups_size()) {
            return Error{Errc::kCorrupt,
                         "open transaction at log offset " + std::to_string(saved.half()) +
                             ", queue offset " + std::to_string(saved.queueoffset()) + ", group " +
                             std::to_string(saved.group()) + " of " +
                             std::to_string(snapshot.transactiongroups_size())};
        }
        open({LogOffset(saved.half()),
              QueueOffset(saved.queueoffset()),
              saved.storetime(),
              saved.askedtime(),
              saved.asked(),
              saved.immunity(),
              snapshot.transactiongroups(saved.group())});
    }
    return ok();
}

}  // namespace gantry::storage
