// SPDX-License-Identifier: Apache-2.0
#include "common/checksum.h"
#include "storage/replica/replica_log.h"
#include "tests/broker/replication/link_fixture.h"
#include "tests/storage/faulty_file_system.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::broker::test {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

/// Log bytes of a master.
std::string some_log(std::size_t messages = 20) {
    Copy master(false);
    master.lead();
    master.append(messages);
    return master.log_bytes();
}

/// The next acknowledgement that says more than `below`.
wire::ReplicaAck hear_ack(Talker& master, std::int64_t below) {
    for (;;) {
        const Heard heard = master.hear(RequestCode::kReplicaAck);
        REQUIRE_FALSE(heard.is_end);
        auto ack = heard.as<wire::ReplicaAck>();
        REQUIRE(ack.sum() == sum_of(ack));
        if (ack.end() > below) {
            return ack;
        }
    }
}

/// Sends the first half of the log rightly and then what `spoil` makes of the second half: the
/// slave must refuse that, and dial again for the same bytes.
std::size_t refuses(const std::function<void(Talker&, const std::string&, std::int64_t)>& spoil,
                    const char* counter) {
    const std::string log = some_log();
    const auto half = static_cast<std::int64_t>(log.size() / 2);
    ScriptedMaster master;
    SlaveEnd slave;
    slave.follow(master.address());
    Talker link = master.welcome();
    const std::string first = log.substr(0, static_cast<std::size_t>(half));
    send_frame(link, frame_of(0, first), first);
    REQUIRE(hear_ack(link, 0).received() == half);
    spoil(link, log, half);
    while (!link.hear().is_end) {
    }
    Talker again = master.welcome();
    // Whole records stay; what is not whole comes anew.
    const std::int64_t from = master.hello.logend();
    CHECK(from > 0);
    CHECK(from <= half);
    CHECK(slave.copy.log_bytes() == log.substr(0, static_cast<std::size_t>(from)));
    CHECK(slave.value(counter) == 1);
    const std::string rest = log.substr(static_cast<std::size_t>(from));
    send_frame(again, frame_of(from, rest), rest);
    CHECK(hear_ack(again, from).end() == static_cast<std::int64_t>(log.size()));
    CHECK(slave.copy.log_bytes() == log);
    return slave.told().follows;
}

}  // namespace

TEST_SUITE("replication link") {
    TEST_CASE("a slave takes frames in and says how far it is") {
        const std::string log = some_log();
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker link = master.welcome();
        CHECK(master.hello.isempty());
        CHECK(master.hello.storageid() == 102);
        CHECK(master.hello.epoch() == kEpoch);
        wire::ReplicaFrame frame = frame_of(0, log);
        frame.set_sentat(4'711);
        frame.set_confirmed(static_cast<std::int64_t>(log.size()));
        frame.set_sum(sum_of(frame, xxh3(as_bytes(log))));
        send_frame(link, frame, log);
        wire::ReplicaAck ack = hear_ack(link, 0);
        while (ack.sentat() == 0) {  // a heartbeat said it first
            ack = hear_ack(link, 0);
        }
        CHECK(ack.end() == static_cast<std::int64_t>(log.size()));
        CHECK(ack.received() == ack.end());
        CHECK(ack.sentat() == 4'711);
        CHECK(ack.epoch() == kEpoch);
        CHECK(slave.copy.log_bytes() == log);
        CHECK(slave.copy.store().watermarks().confirmed.value == ack.end());
        CHECK(slave.loop.run([&] { return slave.follower->master_end(); }) == ack.end());
    }

    TEST_CASE("with sync flush what is acknowledged is durable") {
        const std::string log = some_log();
        ScriptedMaster master;
        SlaveEnd slave(link_options(2), storage::FlushMode::kSync);
        slave.follow(master.address());
        Talker link = master.welcome();
        send_frame(link, frame_of(0, log), log);
        const std::int64_t acknowledged = hear_ack(link, 0).end();
        CHECK(acknowledged <= slave.copy.store().watermarks().flushed.value);
    }

    TEST_CASE("fault 28: a flipped bit in the body of a frame is refused") {
        refuses(
            [](Talker& link, const std::string& log, std::int64_t half) {
                std::string rest = log.substr(static_cast<std::size_t>(half));
                const wire::ReplicaFrame frame = frame_of(half, rest);
                rest[rest.size() / 3] ^= 4;
                send_frame(link, frame, rest);
            },
            "gantry_replica_checksum_errors_total");
    }

    TEST_CASE("fault 28: a flipped bit in a number of a frame is refused") {
        refuses(
            [](Talker& link, const std::string& log, std::int64_t half) {
                const std::string rest = log.substr(static_cast<std::size_t>(half));
                wire::ReplicaFrame frame = frame_of(half, rest);
                frame.set_confirmed(1LL << 40);
                send_frame(link, frame, rest);
            },
            "gantry_replica_checksum_errors_total");
    }

    TEST_CASE("frames of an older epoch are refused") {
        refuses(
            [](Talker& link, const std::string& log, std::int64_t half) {
                const std::string rest = log.substr(static_cast<std::size_t>(half));
                wire::ReplicaFrame frame = frame_of(half, rest);
                frame.set_epoch(kEpoch - 1);
                frame.set_sum(sum_of(frame, xxh3(as_bytes(rest))));
                send_frame(link, frame, rest);
            },
            "gantry_replica_refused_total");
    }

    TEST_CASE("a frame that comes twice is refused") {
        refuses(
            [](Talker& link, const std::string& log, std::int64_t half) {
                const std::string first = log.substr(0, static_cast<std::size_t>(half));
                send_frame(link, frame_of(0, first), first);
            },
            "gantry_replica_refused_total");
    }

    TEST_CASE("a frame that leaves bytes out is refused") {
        refuses(
            [](Talker& link, const std::string& log, std::int64_t half) {
                const std::string rest = log.substr(static_cast<std::size_t>(half) + 100);
                send_frame(link, frame_of(half + 100, rest), rest);
            },
            "gantry_replica_refused_total");
    }

    TEST_CASE("a port that refuses is told at once") {
        std::string address;
        {
            const ScriptedMaster gone;
            address = gone.address();
        }
        SlaveEnd slave;
        slave.follow(address);
        CHECK(wait_until([&] { return slave.told().lost_by_refusal > 1; }));
        CHECK(slave.told().lost_by_silence == 0);
    }

    TEST_CASE("a silent master is lost, and dialled again") {
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker deaf = master.welcome();
        CHECK(wait_until([&] { return slave.told().lost_by_silence == 1; }));
        Talker again = master.welcome();
        CHECK(wait_until([&] { return slave.told().follows == 2; }));
    }

    TEST_CASE("a frame whose length never comes is silence") {
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker link = master.welcome();
        REQUIRE(wait_until([&] { return slave.told().follows == 1; }));
        // As a flipped bit in a length would: the rest of it is heartbeats, as it seems.
        wire::ReplicaFrame beat = frame_of(0, "");
        const std::string beats(100, 'x');
        std::string head;
        wire::HeaderToSend header;
        header.code = static_cast<std::int32_t>(RequestCode::kReplicaFrame);
        header.is_oneway = true;
        header.fields = &beat;
        wire::append_frame_head(head, wire::Codec::kNative, header, std::size_t{4} << 20U);
        link.send_bytes(head);
        SteadyTime next{};
        CHECK(wait_until([&] {
            if (const SteadyTime now = std::chrono::steady_clock::now(); now >= next) {
                next = now + std::chrono::milliseconds(50);
                link.send_bytes(beats);
            }
            return slave.told().lost_by_silence == 1;
        }));
    }

    TEST_CASE("what the welcome says is done by others") {
        ScriptedMaster master;
        SlaveEnd slave;
        SUBCASE("cut") {
            slave.follow(master.address());
            master.welcome([](wire::ReplicaWelcome& welcome) { welcome.set_cutat(0); });
            CHECK(wait_until([&] { return slave.told().cut_at == 0; }));
            CHECK_FALSE(slave.told().is_foreign);
        }
        SUBCASE("foreign") {
            slave.follow(master.address());
            master.welcome([](wire::ReplicaWelcome& welcome) { welcome.set_isforeign(true); });
            CHECK(wait_until([&] { return slave.told().is_foreign; }));
        }
        SUBCASE("seed") {
            slave.follow(master.address());
            Talker link =
                master.welcome([](wire::ReplicaWelcome& welcome) { welcome.set_needsseed(true); });
            wire::StoreSeed seed;
            seed.set_first(65'536);
            const Heard asked = link.hear(RequestCode::kReplicaSeed);
            REQUIRE_FALSE(asked.is_end);
            link.answer(
                asked, ResponseCode::kSuccess, wire::ReplicaFrame(), seed.SerializeAsString());
            CHECK(wait_until([&] { return slave.told().has_seed; }));
        }
        CHECK(slave.told().follows == 0);
    }

    TEST_CASE("a welcome that is not signed is not believed") {
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker liar = master.welcome([](wire::ReplicaWelcome& welcome) {
            welcome.set_cutat(0);
            welcome.set_proof("believe me");
        });
        Talker again = master.welcome();
        CHECK(wait_until([&] { return slave.told().follows == 1; }));
        CHECK_FALSE(slave.told().cut_at.has_value());
    }

    TEST_CASE("a master of a higher epoch, and one named by another, is told of") {
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        SUBCASE("higher") {
            master.welcome([](wire::ReplicaWelcome& welcome) { welcome.set_epoch(kEpoch + 1); });
            REQUIRE(wait_until([&] { return slave.told().other_epoch == kEpoch + 1; }));
            CHECK(slave.told().other_address == master.address());
        }
        SUBCASE("named") {
            master.welcome(
                [](wire::ReplicaWelcome& welcome) {
                    welcome.set_master(9);
                    welcome.set_masteraddress("10.0.0.9:10912");
                },
                ResponseCode::kNotMaster);
            REQUIRE(wait_until([&] { return slave.told().other_epoch == kEpoch; }));
            CHECK(slave.told().other_address == "10.0.0.9:10912");
        }
        CHECK(slave.told().follows == 0);
    }

    TEST_CASE("a master of a lower epoch is not followed") {
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker old =
            master.welcome([](wire::ReplicaWelcome& welcome) { welcome.set_epoch(kEpoch - 1); });
        Talker again = master.welcome();
        CHECK(wait_until([&] { return slave.told().follows == 1; }));
        CHECK(slave.told().other_epoch == 0);
    }

    TEST_CASE("a full disk is told of, and what waits goes in when there is room") {
        const std::string log = some_log(200);
        storage::FaultyFileSystem disk;
        ScriptedMaster master;
        SlaveEnd slave;
        slave.copy.fixture.files = &disk;
        slave.copy.fixture.open();
        disk.fail(
            {.call = storage::Call::kAllocate, .path_part = "commitlog", .code = Errc::kDiskFull});
        slave.follow(master.address());
        Talker link = master.welcome();
        for (std::size_t at = 0; at < log.size(); at += kFrameBytes) {
            const std::string piece = log.substr(at, kFrameBytes);
            send_frame(link, frame_of(static_cast<std::int64_t>(at), piece), piece);
        }
        REQUIRE(wait_until([&] { return !slave.told().failures.empty(); }));
        CHECK(slave.told().failures.front() == Errc::kDiskFull);
        CHECK(slave.is_following());
        disk.heal();
        CHECK(hear_ack(link, static_cast<std::int64_t>(log.size()) - 1).end() ==
              static_cast<std::int64_t>(log.size()));
        CHECK(slave.copy.log_bytes() == log);
    }

    TEST_CASE("a flush that fails is told of, and ends the link") {
        const std::string log = some_log();
        storage::FaultyFileSystem disk;
        ScriptedMaster master;
        SlaveEnd slave(link_options(2), storage::FlushMode::kSync);
        slave.copy.fixture.files = &disk;
        slave.copy.fixture.open();
        slave.follow(master.address());
        Talker link = master.welcome();
        disk.fail({.call = storage::Call::kSync, .path_part = "commitlog"});
        send_frame(link, frame_of(0, log), log);
        REQUIRE(wait_until([&] { return !slave.told().failures.empty(); }));
        CHECK(slave.told().failures.front() == Errc::kReadOnly);
        Heard heard = link.hear();
        while (!heard.is_end) {
            CHECK(heard.as<wire::ReplicaAck>().end() == 0);
            heard = link.hear();
        }
    }

    TEST_CASE("nothing is appended any more once it follows nobody") {
        const std::string log = some_log();
        ScriptedMaster master;
        SlaveEnd slave;
        slave.follow(master.address());
        Talker link = master.welcome();
        send_frame(link, frame_of(0, log), log);
        slave.unfollow();
        const LogOffset at = slave.copy.store().replica().received();
        send_frame(link, frame_of(at.value, log), log);
        CHECK(link.hear(RequestCode::kPromote).is_end);
        CHECK(slave.copy.store().replica().received() == at);
        CHECK_FALSE(slave.is_following());
    }
}

}  // namespace gantry::broker::test
