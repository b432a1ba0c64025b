// SPDX-License-Identifier: Apache-2.0
#include "broker/flow/token_bucket.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gantry::broker {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = TokenBucket::kSecondNs;
constexpr std::int64_t kStart = 1'000 * kSecond;

/// A sender that comes again when it was told to, and at once after a success.
struct Client {
    std::int64_t next = kStart;
    std::int64_t size = 1;
    std::int64_t passed = 0;
    std::int64_t refused = 0;
};

/// Lets them all send until `end`.
void run(TokenBucket& bucket, std::vector<Client>& clients, std::int64_t end) {
    while (true) {
        Client& client =
            *std::min_element(clients.begin(), clients.end(), [](const Client& a, const Client& b) {
                return a.next < b.next;
            });
        if (client.next >= end) {
            return;
        }
        const std::int64_t now = client.next;
        const std::int64_t wait = bucket.promise_ns(client.size, now);
        if (wait == 0) {
            bucket.take(client.size, now);
            client.passed += client.size;
            client.next = now + 1'000;
        } else {
            ++client.refused;
            client.next = now + wait;
        }
    }
}

}  // namespace

TEST_SUITE("broker/flow/token_bucket") {
    TEST_CASE("without a rate everything passes") {
        TokenBucket bucket;
        bucket.take(1'000'000'000, kStart);
        CHECK(bucket.wait_ns(kStart) == 0);
        CHECK(bucket.promise_ns(5, kStart) == 0);
    }

    TEST_CASE("what lay unused is there for a tenth of a second, and no longer") {
        TokenBucket bucket;
        bucket.set_rate(1'000);
        for (int i = 0; i < 100; ++i) {
            CHECK(bucket.wait_ns(kStart) == 0);
            bucket.take(1, kStart);
        }
        CHECK(bucket.wait_ns(kStart) == 0);
        bucket.take(1, kStart);
        CHECK(bucket.wait_ns(kStart) == kMs);
        CHECK(bucket.wait_ns(kStart + kMs) == 0);
    }

    TEST_CASE("a piece larger than the rate passes, and is paid for before the next") {
        TokenBucket bucket;
        bucket.set_rate(1'000);
        bucket.take(5'000, kStart);
        CHECK(bucket.wait_ns(kStart) == 5 * kSecond - TokenBucket::kBurstNs);
        CHECK(bucket.wait_ns(kStart + 4 * kSecond) > 0);
        CHECK(bucket.wait_ns(kStart + 5 * kSecond) == 0);
    }

    TEST_CASE("over time no more passes than the rate, whatever the pieces") {
        for (const std::int64_t rate : {7, 1'000, 250'000}) {
            for (const std::int64_t size : {std::int64_t{1}, rate / 50 + 1}) {
                TokenBucket bucket;
                bucket.set_rate(rate);
                std::vector<Client> one(1);
                one[0].size = size;
                constexpr std::int64_t kSeconds = 20;
                run(bucket, one, kStart + kSeconds * kSecond);
                CAPTURE(rate);
                CAPTURE(size);
                CHECK(one[0].passed >= rate * kSeconds - size);
                CHECK(one[0].passed <= rate * kSeconds + rate / 10 + 2 * size);
            }
        }
    }

    TEST_CASE("many that share a bucket get the same of it, and are not asked to come in vain") {
        TokenBucket bucket;
        bucket.set_rate(1'000);
        std::vector<Client> clients(20);
        run(bucket, clients, kStart + 20 * kSecond);
        const auto [least, most] = std::minmax_element(
            clients.begin(), clients.end(), [](const Client& a, const Client& b) {
                return a.passed < b.passed;
            });
        CHECK(least->passed >= 900);
        CHECK(most->passed <= 1'250);
        for (const Client& client : clients) {
            CHECK(client.refused <= 2 * client.passed + 10);
        }
    }

    TEST_CASE("a new rate opens the bucket and holds from then on") {
        TokenBucket bucket;
        bucket.set_rate(1);
        bucket.take(1'000, kStart);
        CHECK(bucket.wait_ns(kStart) > 0);
        bucket.set_rate(1'000'000);
        CHECK(bucket.wait_ns(kStart) == 0);
        bucket.set_rate(0);
        bucket.take(1'000'000'000, kStart);
        CHECK(bucket.wait_ns(kStart) == 0);
    }

    TEST_CASE("no debt lasts longer than a day, and no promise a second longer than the debt") {
        TokenBucket bucket;
        bucket.set_rate(1);
        bucket.take(INT64_MAX / 4, kStart);
        CHECK(bucket.wait_ns(kStart) <= 86'400 * kSecond);
        for (int i = 0; i < 1'000; ++i) {
            CHECK(bucket.promise_ns(1'000, kStart) <=
                  bucket.wait_ns(kStart) + TokenBucket::kPromiseMaxNs);
        }
    }
}

}  // namespace gantry::broker
