// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/hello_answer.h"
#include "broker/replication/link/range_client.h"
#include "common/checksum.h"
#include "storage/replica/replica_log.h"
#include "tests/broker/replication/link_fixture.h"

#include <doctest/doctest.h>

#include <future>
#include <string>

namespace gantry::broker::test {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

/// Reads frames until `bytes` of the log have come; what they say is checked.
std::string hear_log(Talker& slave, std::size_t bytes) {
    std::string log;
    while (log.size() < bytes) {
        const Heard heard = slave.hear(RequestCode::kReplicaFrame);
        REQUIRE_FALSE(heard.is_end);
        const auto frame = heard.as<wire::ReplicaFrame>();
        REQUIRE(frame.sum() == sum_of(frame, xxh3(as_bytes(heard.body))));
        REQUIRE(frame.epoch() == kEpoch);
        REQUIRE(frame.offset() == static_cast<std::int64_t>(log.size()));
        REQUIRE(frame.length() == static_cast<std::int64_t>(heard.body.size()));
        REQUIRE(heard.body.size() <= kFrameBytes);
        log += heard.body;
    }
    return log;
}

/// Log bytes that come before `heartbeats` heartbeats in a row do.
std::size_t bytes_until_quiet(Talker& slave, int heartbeats) {
    std::size_t bytes = 0;
    for (int quiet = 0; quiet < heartbeats;) {
        const Heard heard = slave.hear(RequestCode::kReplicaFrame);
        REQUIRE_FALSE(heard.is_end);
        bytes += heard.body.size();
        quiet = heard.body.empty() ? quiet + 1 : 0;
    }
    return bytes;
}

template <class Value, class Ask>
Result<Value> ask(MasterEnd& master, Ask start) {
    std::promise<Result<Value>> promise;
    std::future<Result<Value>> future = promise.get_future();
    master.loop.run([&] {
        start([&promise](Result<Value> answer) { promise.set_value(std::move(answer)); });
        return true;
    });
    return future.get();
}

Result<std::string> fetch(MasterEnd& master,
                          std::int64_t offset,
                          std::int64_t length,
                          const storage::EpochList& epochs,
                          LinkOptions options = link_options(2)) {
    wire::LogRangeRequest request;
    request.set_group(options.group);
    request.set_offset(offset);
    request.set_length(length);
    write_epochs(epochs, *request.mutable_epochs());
    return ask<std::string>(master, [&](auto done) {
        fetch_range(*master.loop, options, master.address(), request, std::move(done));
    });
}

}  // namespace

TEST_SUITE("replication link") {
    TEST_CASE("a slave gets the master's log, and what is appended then") {
        MasterEnd master;
        master.append(40);
        Talker slave(master.port());
        const Heard welcome = greet(slave, empty_hello());
        CHECK(welcome.response() == ResponseCode::kSuccess);
        const auto fields = welcome.as<wire::ReplicaWelcome>();
        CHECK(fields.proof() == proof_of("", "the slave's", fields));
        const auto whole = static_cast<std::size_t>(master.copy.end().value);
        CHECK(hear_log(slave, whole) == master.copy.log_bytes());
        acknowledge(slave, master.copy.end().value, master.copy.end().value);
        REQUIRE(wait_until([&] { return master.acknowledged(2) == master.copy.end().value; }));

        master.append(1);
        const Heard next = slave.hear(RequestCode::kReplicaFrame);
        CHECK(next.as<wire::ReplicaFrame>().offset() <= master.copy.end().value);
    }

    TEST_CASE("who does not know the secret is refused") {
        LinkOptions options = link_options(1);
        options.secret = "of the group";
        MasterEnd master(options);
        Talker wrong(master.port());
        const Heard refused = greet(wrong, empty_hello(), "another");
        CHECK(refused.response() == ResponseCode::kNoPermission);
        CHECK(wrong.hear().is_end);
        Talker none(master.port());
        CHECK(greet(none, empty_hello()).response() == ResponseCode::kNoPermission);
        Talker right(master.port());
        CHECK(greet(right, empty_hello(), "of the group").response() == ResponseCode::kSuccess);
    }

    TEST_CASE("a hello without a challenge, and one that was said before, prove nothing") {
        MasterEnd master;
        Talker slave(master.port());
        wire::ReplicaHello hello = empty_hello();
        hello.set_proof(proof_of("", "", hello));
        slave.send(RequestCode::kReplicaHello, hello);
        CHECK(slave.hear().response() == ResponseCode::kNoPermission);
    }

    TEST_CASE("another segment size is refused, naming both") {
        MasterEnd master;
        Talker slave(master.port());
        wire::ReplicaHello hello = empty_hello();
        hello.set_segmentbytes(1 << 20);
        const Heard refused = greet(slave, hello);
        CHECK(refused.response() == ResponseCode::kInvalidParameter);
        CHECK(refused.remark.find("1048576") != std::string::npos);
        CHECK(refused.remark.find("65536") != std::string::npos);
        CHECK(slave.hear().is_end);
    }

    TEST_CASE("a hello of a higher epoch is refused and told of") {
        MasterEnd master;
        Talker slave(master.port());
        wire::ReplicaHello hello = empty_hello();
        hello.set_epoch(kEpoch + 2);
        CHECK(greet(slave, hello).response() == ResponseCode::kConflict);
        CHECK(wait_until([&] { return master.higher_epoch == kEpoch + 2; }));
    }

    TEST_CASE("who is not the master says who is") {
        MasterEnd broker;
        broker.loop.run([&] {
            broker.server->yield(7, "10.0.0.7:10912");
            return true;
        });
        Talker slave(broker.port());
        const Heard refused = greet(slave, empty_hello());
        CHECK(refused.response() == ResponseCode::kNotMaster);
        const auto fields = refused.as<wire::ReplicaWelcome>();
        CHECK(fields.master() == 7);
        CHECK(fields.masteraddress() == "10.0.0.7:10912");
        CHECK(fields.proof() == proof_of("", "the slave's", fields));
    }

    TEST_CASE("links end when the master yields") {
        MasterEnd master;
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        master.loop.run([&] {
            master.server->yield(GroupState::kNobody, "");
            return true;
        });
        CHECK(slave.hear(RequestCode::kPromote).is_end);
        CHECK(harness::wait_until(std::chrono::seconds(30), [&] { return master.lost() == 1; }));
    }

    TEST_CASE("what is sent and not taken in fills the window, and no more") {
        MasterEnd master;
        master.append(200);
        REQUIRE(master.copy.end().value > static_cast<std::int64_t>(2 * kWindowBytes));
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        const std::size_t first = bytes_until_quiet(slave, 3);
        CHECK(first <= kWindowBytes);
        CHECK(first > kWindowBytes - kFrameBytes);
        CHECK(master.value("gantry_replica_window_stalls_total") >= 1);

        // Taken in, not yet durable: the window goes on.
        acknowledge(slave, 0, static_cast<std::int64_t>(first));
        const std::size_t second = bytes_until_quiet(slave, 3);
        CHECK(second <= kWindowBytes);
        CHECK(second > kWindowBytes - kFrameBytes);
    }

    TEST_CASE("an acknowledgement of what was not sent ends the link") {
        MasterEnd master;
        master.append(1);
        const std::int64_t end = master.copy.end().value;
        const auto is_refused = [&](auto say) {
            Talker slave(master.port());
            REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
            hear_log(slave, static_cast<std::size_t>(end));
            const std::size_t lost = master.lost();
            say(slave);
            return slave.hear(RequestCode::kPromote).is_end &&
                   wait_until([&] { return master.lost() == lost + 1; });
        };
        CHECK(is_refused([&](Talker& slave) { acknowledge(slave, end + 1, end + 1); }));
        CHECK(is_refused([&](Talker& slave) { acknowledge(slave, end, end - 1); }));
        CHECK(is_refused([&](Talker& slave) { acknowledge(slave, end, end, kEpoch - 1); }));
        CHECK(is_refused([&](Talker& slave) {
            wire::ReplicaAck flipped;
            flipped.set_epoch(kEpoch);
            flipped.set_received(end);
            flipped.set_sum(sum_of(flipped));
            flipped.set_end(end);
            slave.send(RequestCode::kReplicaAck, flipped, true);
        }));
        CHECK(master.acknowledged(2) == -1);
        CHECK(master.value("gantry_replica_checksum_errors_total") == 1);
    }

    TEST_CASE("what is confirmed is told at once to a slave that has everything") {
        LinkOptions options = link_options(1);
        options.heartbeat = std::chrono::seconds(60);
        options.silence_max = std::chrono::seconds(120);
        MasterEnd master(options);
        master.append(1);
        const std::int64_t end = master.copy.end().value;
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        hear_log(slave, static_cast<std::size_t>(end));
        master.loop.run([&] {
            master.server->confirm(LogOffset(end - 1));  // under way: waits for company
            return true;
        });
        acknowledge(slave, end, end);
        CHECK(slave.hear(RequestCode::kReplicaFrame).as<wire::ReplicaFrame>().confirmed() ==
              end - 1);
        master.loop.run([&] {
            master.server->confirm(LogOffset(end));
            return true;
        });
        CHECK(slave.hear(RequestCode::kReplicaFrame).as<wire::ReplicaFrame>().confirmed() == end);
    }

    TEST_CASE("a silent slave is dropped") {
        MasterEnd master;
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        CHECK(slave.hear(RequestCode::kPromote).is_end);
        CHECK(harness::wait_until(std::chrono::seconds(30), [&] { return master.lost() == 1; }));
    }

    TEST_CASE("caught up is who had everything there was") {
        MasterEnd master;
        master.append(20);
        const std::int64_t end = master.copy.end().value;
        const SteadyTime begin = std::chrono::steady_clock::now();
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        hear_log(slave, static_cast<std::size_t>(end));
        acknowledge(slave, end - 1, end);
        REQUIRE(wait_until([&] { return master.acknowledged(2) == end - 1; }));
        CHECK(master.caught_up_at(2) == SteadyTime{});
        acknowledge(slave, end, end);
        REQUIRE(wait_until([&] { return master.acknowledged(2) == end; }));
        CHECK(master.caught_up_at(2) >= begin);
    }

    TEST_CASE("a second link of a member takes the place of the first") {
        MasterEnd master;
        Talker first(master.port());
        REQUIRE(greet(first, empty_hello()).response() == ResponseCode::kSuccess);
        Talker second(master.port());
        REQUIRE(greet(second, empty_hello()).response() == ResponseCode::kSuccess);
        CHECK(first.hear(RequestCode::kPromote).is_end);
        CHECK(second.hear(RequestCode::kReplicaFrame).is(RequestCode::kReplicaFrame));
    }

    TEST_CASE("a seed is for those who were told to ask for one") {
        MasterEnd master;
        Talker slave(master.port());
        wire::SeedRequest request;
        request.set_epoch(kEpoch);
        slave.send(RequestCode::kReplicaSeed, request);
        CHECK(slave.hear().response() == ResponseCode::kNoPermission);
    }

    TEST_CASE("status: who it is, and how far its slaves are") {
        MasterEnd master;
        master.append(3);
        Talker slave(master.port());
        REQUIRE(greet(slave, empty_hello()).response() == ResponseCode::kSuccess);
        acknowledge(slave, 0, 0);
        REQUIRE(wait_until([&] { return master.acknowledged(2) == 0; }));
        const auto status = ask<wire::ReplicaStatus>(master, [&](auto done) {
            ask_status(*master.loop, link_options(3), master.address(), std::move(done));
        });
        REQUIRE(status);
        CHECK(status->ismaster());
        REQUIRE(status->links_size() == 1);
        CHECK(status->links(0).member() == 2);
        CHECK(status->links(0).address() == "");
        CHECK(status->links(0).behindbytes() == master.copy.end().value);

        LinkOptions other = link_options(3);
        other.group = "another";
        CHECK_FALSE(ask<wire::ReplicaStatus>(master, [&](auto done) {
                        ask_status(*master.loop, other, master.address(), std::move(done));
                    }).has_value());
    }

    TEST_CASE("log bytes for repair") {
        MasterEnd master;
        master.append(200);
        master.copy.store().flush_soon();
        REQUIRE(wait_until(
            [&] { return master.copy.store().watermarks().flushed == master.copy.end(); }));
        const std::string log = master.copy.log_bytes();
        const storage::EpochList epochs = master.copy.store().replica().epochs();
        // Over the end of a segment.
        const auto bytes = fetch(master, 60'000, 20'000, epochs);
        REQUIRE(bytes);
        CHECK(*bytes == log.substr(60'000, 20'000));

        CHECK(storage::code_of(fetch(master, 0, 5 << 20, epochs)) == Errc::kRefused);
        CHECK(storage::code_of(fetch(master, master.copy.end().value - 5, 10, epochs)) ==
              Errc::kRefused);
        storage::EpochList others = epochs;
        others.back().id += 1;
        CHECK(storage::code_of(fetch(master, 0, 100, others)) == Errc::kConflict);
        LinkOptions stranger = link_options(2);
        stranger.secret = "guessed";
        CHECK(storage::code_of(fetch(master, 0, 100, epochs, stranger)) == Errc::kDenied);
    }

    TEST_CASE("a question that is open when its loop ends is dropped") {
        ScriptedMaster deaf;
        net::test::LoopThread loop;
        bool is_called = false;
        loop.run([&] {
            ask_status(*loop, link_options(2), deaf.address(), [&](auto) { is_called = true; });
            return true;
        });
        loop.stop();
        CHECK_FALSE(is_called);
    }
}

}  // namespace gantry::broker::test
