// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/group.pb.h"
#include "tests/broker/broker_fixture.h"
#include "tests/broker/slow_disk.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace gantry::broker {

TEST_SUITE_BEGIN("broker/parked_key");

namespace {

constexpr std::int32_t kPark = 0;
constexpr std::int32_t kRelease = 1;
constexpr std::int32_t kHold = 2;
constexpr std::int32_t kDone = 3;
constexpr std::int32_t kDrop = 4;

/// A broker with topic "T", and requests about keys of its queue 0.
class Parking {
public:
    Parking() { REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess); }

    static wire::ChangeParkedKeyRequest request_of(std::int32_t action,
                                                   const std::vector<std::int64_t>& offsets = {}) {
        wire::ChangeParkedKeyRequest request;
        request.set_group("G");
        request.set_topic("T");
        request.set_key("k");
        request.set_action(action);
        request.mutable_offsets()->Add(offsets.begin(), offsets.end());
        return request;
    }

    /// "count first released", or what it was refused with.
    std::string change(const wire::ChangeParkedKeyRequest& request) {
        const Answer answer = fixture.native().call(RequestCode::kChangeParkedKey, &request);
        if (answer.code != ResponseCode::kSuccess) {
            return answer.summary();
        }
        const auto left = answer.fields<wire::ChangeParkedKeyResponse>();
        return std::to_string(left.count()) + ' ' + std::to_string(left.first()) +
               (left.isreleased() ? " released" : "");
    }

    std::string change(std::int32_t action, const std::vector<std::int64_t>& offsets = {}) {
        return change(request_of(action, offsets));
    }

    std::string park_new(const std::vector<std::int64_t>& offsets) {
        wire::ChangeParkedKeyRequest request = request_of(kPark, offsets);
        request.set_isnew(true);
        return change(request);
    }

    std::string list() {
        wire::ParkedKeysRequest request;
        request.set_group("G");
        const Answer answer = fixture.native().call(RequestCode::kListParkedKeys, &request);
        REQUIRE(answer.summary() == "0");
        std::string text;
        const auto parked = answer.body_as<wire::ParkedKeyList>();
        for (const auto& key : parked.keys()) {
            text += key.topic() + ' ' + key.key() + ' ' + std::to_string(key.count()) + ';';
        }
        return text;
    }

    BrokerFixture fixture;
};

const std::string kNotParked = "22 key \"k\" of queue 0 of topic T is not parked for group G";

}  // namespace

TEST_CASE_FIXTURE(Parking, "a key is parked, released, done with, also across a restart") {
    CHECK(change(kPark, {3}) == kNotParked);
    CHECK(park_new({3}) == "1 3");
    CHECK(change(kPark, {5, 6}) == "3 3");
    CHECK(change(kPark, {5, 6}) == "3 3");  // repeated
    fixture.restart();
    CHECK(list() == "T k 3;");
    CHECK(change(kRelease) == "3 3 released");
    CHECK(change(kDone, {3}) == "2 5 released");
    CHECK(change(kDone, {3}) == "2 5 released");  // repeated
    CHECK(change(kPark, {9}) == "3 5 released");
    CHECK(change(kHold) == "3 5");
    fixture.restart();
    CHECK(change(kDone, {5}) == "2 6");
    CHECK(change(kDone, {6}) == "1 9");
    CHECK(change(kDone, {9}) == "0 0");
    CHECK(change(kDone, {9}) == "0 0");
    CHECK(list().empty());
    CHECK(change(kRelease) == kNotParked);
}

TEST_CASE_FIXTURE(Parking, "a dropped key is parked no more") {
    park_new({3, 4});
    CHECK(change(kDrop) == "0 0");
    CHECK(change(kDrop) == kNotParked);
    CHECK(change(kPark, {5}) == kNotParked);
}

TEST_CASE_FIXTURE(Parking, "who lost the lock parks nothing") {
    wire::LockQueuesRequest lock;
    lock.set_group("G");
    lock.set_clientid("a");
    lock.set_leasemillis(60'000);
    lock.add_queues()->set_topic("T");
    const Answer answer = fixture.native().call(RequestCode::kLockQueues, &lock);
    const std::int64_t token = answer.fields<wire::LockQueuesResponse>().held(0).token();
    wire::ChangeParkedKeyRequest request = request_of(kPark, {3});
    request.set_isnew(true);
    request.set_locktoken(token + 1);
    CHECK(change(request).starts_with("10060 "));
    CHECK(list().empty());
    request.set_locktoken(token);
    CHECK(change(request) == "1 3");
}

TEST_CASE("what is parked twice is told parked once it is on the disk, not before") {
    OnSlowDisk slow;
    BrokerFixture& f = slow.f;
    wire::ChangeParkedKeyRequest request = Parking::request_of(kPark, {3});
    request.set_isnew(true);
    slow.disk.hold_syncs("commitlog/0");
    auto first = f.native().start(RequestCode::kChangeParkedKey, &request);
    REQUIRE(slow.come_to_wait(1));
    auto repeated = f.native().start(RequestCode::kChangeParkedKey, &request);
    CHECK(slow.come_to_wait(2));
    CHECK_FALSE(is_answered(repeated));
    slow.disk.let_go(OnSlowDisk::kAll);
    CHECK(first.get().summary() == "0");
    CHECK(repeated.get().fields<wire::ChangeParkedKeyResponse>().count() == 1);
}

TEST_CASE_FIXTURE(Parking, "as many messages are parked as may be, and not one more") {
    constexpr auto kMax = std::int64_t{1'000'000};
    constexpr std::int64_t kAtOnce = 50'000;
    std::vector<std::int64_t> offsets(kAtOnce);
    for (std::int64_t from = 0; from < kMax; from += kAtOnce) {
        std::iota(offsets.begin(), offsets.end(), from);
        REQUIRE(park_new(offsets) == std::to_string(from + kAtOnce) + " 0");
    }
    const std::string refused = change(kPark, {kMax});
    CHECK_MESSAGE(
        refused == "2 as many messages are parked as may be, 1000000: release or drop some",
        refused);
    CHECK(list() == "T k 1000000;");
    CHECK(change(kDone, {0}) == "999999 1");
    CHECK(change(kPark, {kMax}) == "1000000 1");
    CHECK(change(kDrop) == "0 0");
    CHECK(park_new({kMax + 1}) == "1 1000001");
}

TEST_CASE_FIXTURE(Parking, "what cannot be is refused") {
    CHECK(park_new({}) == "29 parked key: number of offsets 0 is not 1 or more");
    CHECK(park_new({4, 4}).starts_with("29 parked key: offset 4 is not above"));
    CHECK(change(5) == "29 action 5 is outside 0..4");
    CHECK(change(kDone) == "29 number of offsets 0 is not 1, as it is of what is done");
    wire::ChangeParkedKeyRequest request = request_of(kPark, {3});
    request.set_queueid(1);
    CHECK(change(request) == "29 topic[T] has no queue 1");
    request.set_queueid(0);
    request.set_isnew(true);
    request.set_key("");
    CHECK(change(request).starts_with("29 parked key: key length 0 is not within 1 to"));
}

TEST_SUITE_END();

}  // namespace gantry::broker
