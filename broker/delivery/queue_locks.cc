// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/queue_locks.h"

namespace gantry::broker {

bool QueueLocks::lock(const Name& name, std::string_view client_id) {
    const SteadyTime now = clock_.steady();
    const MutexLock lock(mutex_);
    const auto [at, is_new] =
        held_.try_emplace(Key(name.group, name.topic, name.queue_id), Holder{});
    Holder& holder = at->second;
    if (!is_new && holder.client_id != client_id && now - holder.renewed < kLifetime) {
        return false;
    }
    holder.client_id = client_id;
    holder.renewed = now;
    return true;
}

void QueueLocks::unlock(const Name& name, std::string_view client_id) {
    const MutexLock lock(mutex_);
    const auto at = held_.find(Key(name.group, name.topic, name.queue_id));
    if (at != held_.end() && at->second.client_id == client_id) {
        held_.erase(at);
    }
}

}  // namespace gantry::broker
