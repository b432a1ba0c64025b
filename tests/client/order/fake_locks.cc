// SPDX-License-Identifier: Apache-2.0
#include "tests/client/order/fake_locks.h"

#include "protocol/net/connection.h"

namespace gantry::client::test {

FakeLocks::FakeLocks(FakeCluster& cluster, std::size_t broker) : broker_(cluster.broker(broker)) {
    cluster.run([this] {
        broker_.on_other = [this](const net::Received& frame) { return answer(frame); };
    });
}

void FakeLocks::take_away(const Key& key) {
    held[key] = {"somebody", ++last_token};
}

bool FakeLocks::answer(const net::Received& frame) {
    const wire::RequestCode code = frame.header.request();
    if (code != wire::RequestCode::kLockQueues && code != wire::RequestCode::kUnlockQueues) {
        return false;
    }
    if (is_silent) {
        return true;
    }
    wire::LockQueuesRequest request;
    static_cast<void>(wire::decode_fields(frame.header, request));
    wire::LockQueuesResponse response;
    for (const auto& queue : request.queues()) {
        const Key key{queue.topic(), queue.queueid()};
        const std::string name = queue.topic() + ' ' + std::to_string(queue.queueid());
        const auto found = held.find(key);
        const bool is_free = found == held.end();
        if (code == wire::RequestCode::kUnlockQueues) {
            if (!is_free && found->second.client == request.clientid()) {
                held.erase(found);
                log.push_back("unlock " + name);
            }
            continue;
        }
        lease = request.leasemillis();
        if (is_free) {
            held[key] = {request.clientid(), ++last_token};
            log.push_back("lock " + name);
        }
        if (held[key].client == request.clientid()) {
            auto& added = *response.add_held();
            added.set_topic(queue.topic());
            added.set_queueid(queue.queueid());
            added.set_token(held[key].token);
        }
    }
    broker_.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, &response);
    return true;
}

}  // namespace gantry::client::test
