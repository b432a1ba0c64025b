// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "protocol/wire/message.pb.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::broker {

class Dispatcher;

/// Offsets of queues and groups: query (14), commit (15, 10002), ends of a queue (30, 31), by time
/// (29), time of the oldest message (32).
///
/// Threads   any loop. By-time searches read the log and run in the pool.
/// Errors    stock clients get RocketMQ's answers for unknown topics and queues (offset 0); native
///           ones kTopicNotExist and kInvalidParameter. kFenced: 10002 with a lock token that is
///           not the current one of its queue; the request's other offsets are committed.
class OffsetHandler {
public:
    explicit OffsetHandler(Context& context) : context_(context) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    void query(Call& call, const wire::QueryConsumerOffsetRequest& request);
    void update(Call& call, const wire::UpdateConsumerOffsetRequest& request);
    void commit(Call& call, const wire::CommitOffsetsRequest& request);
    void max_offset(Call& call, const wire::QueueRequest& request);
    void min_offset(Call& call, const wire::QueueRequest& request);
    void earliest_time(Call& call, const wire::QueueRequest& request);
    void search(Call& call, const wire::SearchOffsetRequest& request);

    Result<storage::Queue*> find_queue(std::string_view topic, std::int32_t queue_id) const;
    Status check_commit(const OffsetCommits::Commit& commit) const;
    /// What of the commits the locks refuse, told in a remark; empty: nothing.
    std::string fenced(const wire::CommitOffsetsRequest& request) const;
    void reply_offset(const Call& call, std::int64_t offset) const;
    /// Stock clients: offset 0, as RocketMQ answers for what it does not know.
    void fail_lookup(const Call& call, const Error& error) const;

    Context& context_;
};

}  // namespace gantry::broker
