// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/repair.h"
#include "broker/replication/replication_server.h"
#include "common/mutex.h"
#include "protocol/net/event_loop.h"

#include <memory>
#include <string>
#include <vector>

namespace gantry::broker {

/// How a store reaches the other copies in sync, to mend its log from them. It lives as long as
/// somebody may ask; after close() nobody is reached.
///
/// Threads   any.
/// Lifetime  the loop may end after close().
class Reach : public std::enable_shared_from_this<Reach> {
public:
    Reach(net::EventLoop& loop, LinkOptions link) : loop_(&loop), link_(std::move(link)) {}

    /// Replication addresses of the others in sync, the master first.
    void set_members(std::vector<std::string> addresses);
    void close();

    /// Asks them; for Store::repair_from.
    std::shared_ptr<RepairSource> source(storage::Store& store);

private:
    std::vector<std::string> members() const;
    void fetch(const std::string& address,
               const wire::LogRangeRequest& request,
               RepairSource::Done done);

    mutable Mutex mutex_;
    net::EventLoop* loop_ GANTRY_GUARDED_BY(mutex_);
    std::vector<std::string> addresses_ GANTRY_GUARDED_BY(mutex_);
    const LinkOptions link_;
};

}  // namespace gantry::broker
