// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/reach.h"

#include "broker/replication/link/range_client.h"
#include "storage/replica/replica_log.h"

#include <utility>

namespace gantry::broker {

void Reach::set_members(std::vector<std::string> addresses) {
    const MutexLock lock(mutex_);
    addresses_ = std::move(addresses);
}

void Reach::close() {
    const MutexLock lock(mutex_);
    loop_ = nullptr;
    addresses_.clear();
}

std::shared_ptr<RepairSource> Reach::source(storage::Store& store) {
    const auto self = shared_from_this();
    RepairSource::Callbacks callbacks;
    callbacks.members = [self] { return self->members(); };
    callbacks.fetch = [self](const auto& address, const auto& request, RepairSource::Done done) {
        self->fetch(address, request, std::move(done));
    };
    // The store that asks is open as long as it does.
    callbacks.epochs = [&store] { return store.replica().epochs(); };
    return std::make_shared<RepairSource>(link_.group, std::move(callbacks));
}

std::vector<std::string> Reach::members() const {
    const MutexLock lock(mutex_);
    return addresses_;
}

void Reach::fetch(const std::string& address,
                  const wire::LogRangeRequest& request,
                  RepairSource::Done done) {
    const MutexLock lock(mutex_);
    if (loop_ == nullptr) {
        done(Error{Errc::kClosed, "this member is stopping"});
        return;
    }
    net::EventLoop& loop = *loop_;
    const Status posted = loop.post([&loop, link = link_, address, request, done] {
        fetch_range(loop, link, address, request, done);
    });
    if (!posted) {
        done(posted.error());
    }
}

}  // namespace gantry::broker
