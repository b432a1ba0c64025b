// SPDX-License-Identifier: Apache-2.0
#include "common/random.h"
#include "storage/replica/replica_log.h"
#include "tests/broker/replication/link_fixture.h"
#include "tests/harness/faulty_proxy.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace gantry::broker::test {

namespace {

std::unique_ptr<harness::FaultyProxy> proxy_to(MasterEnd& master) {
    Result<std::unique_ptr<harness::FaultyProxy>> started =
        harness::FaultyProxy::start(master.port());
    REQUIRE(started);
    return std::move(*started);
}

bool has_everything(MasterEnd& master, SlaveEnd& slave) {
    return wait_until([&] {
        return slave.copy.end() == master.copy.end() &&
               master.acknowledged(2) == master.copy.end().value;
    });
}

}  // namespace

TEST_SUITE("replication link") {
    TEST_CASE("a slave catches up, follows the tail and rolls its segments") {
        for (const storage::FlushMode flush :
             {storage::FlushMode::kAsync, storage::FlushMode::kSync}) {
            MasterEnd master;
            master.append(400);
            SlaveEnd slave(link_options(2), flush);
            slave.follow(master.address());
            REQUIRE(has_everything(master, slave));
            for (int i = 0; i < 30; ++i) {
                master.append(5);
            }
            REQUIRE(has_everything(master, slave));
            CHECK(slave.copy.end().value >
                  static_cast<std::int64_t>(6 * storage::kTestSegmentBytes));
            CHECK(slave.copy.log_bytes() == master.copy.log_bytes());
            CHECK(slave.told().follows == 1);
            CHECK(slave.copy.store().find_topic("T") != nullptr);
        }
    }

    TEST_CASE("connections cut at any moment leave the same log") {
        Random random(net::test::test_seed());
        MasterEnd master;
        const auto proxy = proxy_to(master);
        SlaveEnd slave;
        slave.follow(proxy->address());
        for (int round = 0; round < 12; ++round) {
            master.append(1 + random.below(60), 100 + random.below(1'500));
            const std::int64_t reached =
                slave.copy.end().value + static_cast<std::int64_t>(random.below(60'000));
            REQUIRE(wait_until([&] {
                return slave.copy.end() == master.copy.end() ||
                       slave.copy.store().replica().received().value >= reached;
            }));
            proxy->cut_once();
        }
        REQUIRE(has_everything(master, slave));
        CHECK(slave.copy.log_bytes() == master.copy.log_bytes());
        CHECK_FALSE(slave.told().cut_at.has_value());
    }

    TEST_CASE("a long round trip is filled with frames") {
        MasterEnd master;
        const auto proxy = proxy_to(master);
        proxy->delay(std::chrono::milliseconds(50));
        SlaveEnd slave;
        slave.follow(proxy->address());
        REQUIRE(wait_until([&] { return slave.told().follows == 1; }));
        master.append(200);
        // A whole window leaves before the first acknowledgement can be there.
        REQUIRE(wait_until([&] {
            return master.value("gantry_replica_sent_bytes_total") >=
                   static_cast<double>(kWindowBytes - kFrameBytes);
        }));
        CHECK(master.acknowledged(2) < static_cast<std::int64_t>(kFrameBytes));
        REQUIRE(has_everything(master, slave));
        const auto links = master.loop.run([&] { return master.server->links(); });
        REQUIRE(links.size() == 1);
        CHECK(links[0].roundtripmicros() >= 50'000);
    }

    TEST_CASE("a link that has gone deaf is noticed at both ends and mended") {
        MasterEnd master;
        const auto proxy = proxy_to(master);
        SlaveEnd slave;
        slave.follow(proxy->address());
        REQUIRE(wait_until([&] { return slave.told().follows == 1; }));
        proxy->drop();
        CHECK(wait_until([&] { return master.lost() == 1 && slave.told().lost_by_silence >= 1; }));
        proxy->pass();
        master.append(10);
        REQUIRE(has_everything(master, slave));
        CHECK(slave.copy.log_bytes() == master.copy.log_bytes());
    }

    TEST_CASE("acknowledgements that come twice change nothing") {
        MasterEnd master;
        const auto proxy = proxy_to(master);
        proxy->duplicate_every(3);
        SlaveEnd slave;
        slave.follow(proxy->address());
        for (int i = 0; i < 20; ++i) {
            master.append(5);
        }
        REQUIRE(has_everything(master, slave));
        CHECK(slave.copy.log_bytes() == master.copy.log_bytes());
    }

    TEST_CASE("a slave that catches up is paced, and gains on a master that goes on") {
        LinkOptions options = link_options(1);
        options.hot_bytes = 64 << 10;  // the rest is read by threads, and paced
        options.seed_bytes_per_second = 1'000'000;
        MasterEnd master(options);
        master.append(600);
        const SteadyTime begin = std::chrono::steady_clock::now();
        SlaveEnd slave;
        slave.follow(master.address());
        REQUIRE(wait_until([&] { return slave.told().follows == 1; }));
        master.append(100);
        REQUIRE(has_everything(master, slave));
        CHECK(std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(200));
        CHECK(slave.copy.log_bytes() == master.copy.log_bytes());
    }

    TEST_CASE("a slave of another secret never follows") {
        LinkOptions options = link_options(1);
        options.secret = "one";
        MasterEnd master(options);
        SlaveEnd slave;
        slave.follow(master.address());
        CHECK(wait_until([&] { return master.value("gantry_replica_refused_total") >= 2; }));
        CHECK(slave.told().follows == 0);
    }
}

}  // namespace gantry::broker::test
