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
    if (code == wire::RequestCode::kListParkedKeys) {
        list_parked(frame);
        return true;
    }
    if (code == wire::RequestCode::kChangeParkedKey) {
        change_parked(frame);
        return true;
    }
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

void FakeLocks::list_parked(const net::Received& frame) {
    wire::ParkedKeysRequest request;
    static_cast<void>(wire::decode_fields(frame.header, request));
    wire::ParkedKeyList list;
    for (const auto& [key, lane] : parked) {
        auto& entry = *list.add_keys();
        entry.set_topic(request.topic());
        entry.set_queueid(request.queueid());
        entry.set_key(key);
        entry.set_count(static_cast<std::int64_t>(lane.offsets.size()));
        entry.set_first(lane.offsets.front());
        entry.set_isreleased(lane.is_released);
    }
    std::string body;
    wire::append_body(body, wire::Codec::kNative, list);
    broker_.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, nullptr, body);
}

void FakeLocks::change_parked(const net::Received& frame) {
    constexpr std::int32_t kPark = 0;
    constexpr std::int32_t kHeld = 2;
    wire::ChangeParkedKeyRequest request;
    static_cast<void>(wire::decode_fields(frame.header, request));
    if (request.action() == kPark && parked.count(request.key()) == 0 && !request.isnew()) {
        broker_.reply(net::reply_to(frame), wire::ResponseCode::kQueryNotFound);
        return;
    }
    Parked& lane = parked[request.key()];
    if (request.action() == kPark) {
        for (const std::int64_t offset : request.offsets()) {
            lane.offsets.push_back(offset);
        }
    } else if (request.action() == kHeld) {
        lane.is_released = false;
    } else if (!lane.offsets.empty() && lane.offsets.front() == request.offsets(0)) {
        lane.offsets.erase(lane.offsets.begin());
    }
    wire::ChangeParkedKeyResponse response;
    if (lane.offsets.empty()) {
        parked.erase(request.key());
    } else {
        response.set_count(static_cast<std::int64_t>(lane.offsets.size()));
        response.set_first(lane.offsets.front());
        response.set_isreleased(lane.is_released);
    }
    broker_.reply(net::reply_to(frame), wire::ResponseCode::kSuccess, &response);
}

}  // namespace gantry::client::test
