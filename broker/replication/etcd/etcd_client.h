// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/etcd/etcd_messages.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "protocol/net/event_loop.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

/// etcd over its JSON gateway, /v3/*, as much of it as a group needs. Reads are linearizable.
///
/// One endpoint is asked at a time; the next one when it does not answer. What may be sent twice
/// (everything but a conditional write) is, at every endpoint once; a write whose fate is not known
/// fails with kUnknown and is not sent again.
///
/// Threads   the loop's thread only.
/// Errors    kGone: no endpoint was reached, nothing was changed. kUnknown: sent, no answer, or one
///           that does not tell. Others: see etcd_error.
/// Lifetime  callbacks come once, never from inside the call; none after the destructor. A callback
///           may destroy the client.
class EtcdClient {
public:
    /// Where etcd is.
    struct Options {
        std::vector<std::string> endpoints;  ///< host:port, at least one
        std::chrono::milliseconds attempt_timeout{1'000};
    };

    template <class T>
    using Done = UniqueFunction<void(Result<T>)>;

    EtcdClient(net::EventLoop& loop, Options options);
    ~EtcdClient();
    EtcdClient(const EtcdClient&) = delete;
    EtcdClient& operator=(const EtcdClient&) = delete;

    /// All keys that begin with `prefix`.
    void list(std::string_view prefix, Done<EtcdListing> done);
    /// Writes key.value, under key.lease unless that is 0, when `condition` holds. The new
    /// revision. kConflict: it does not hold. kNotFound: the lease is over.
    void put(const EtcdKey& key, const EtcdCondition& condition, Done<std::uint64_t> done);
    /// etcd may make it longer: 2 s at least.
    void grant(std::int64_t seconds, Done<EtcdLease> done);
    /// kNotFound: it is over, and so are the keys under it.
    void keep_alive(std::int64_t lease, Done<EtcdLease> done);
    /// Ends it, and deletes the keys under it.
    void revoke(std::int64_t lease, UniqueFunction<void(Status)> done);

    /// Tells what changes below `prefix` from `from_revision` on, until it ends: with the last
    /// call `ended` says why. One at a time: another call ends the one before.
    void watch(std::string_view prefix,
               std::uint64_t from_revision,
               std::function<void(const EtcdWatchNews&)> on_news);
    void end_watch();

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace gantry::broker
