// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/link/hello_answer.h"

#include <doctest/doctest.h>

namespace gantry::broker {

namespace {

using wire::ResponseCode;

const storage::EpochList kMasterEpochs = {
    {1, 11, LogOffset(0)}, {3, 33, LogOffset(1'000)}, {4, 44, LogOffset(2'000)}};

Greeted master(LogOffset first = LogOffset(0)) {
    return {.group = "g",
            .cluster = "c",
            .member = 1,
            .epoch = 4,
            .segment_bytes = 4'096,
            .epochs = kMasterEpochs,
            .first = first,
            .end = LogOffset(3'000),
            .needs_seed = first.value > 0};
}

wire::ReplicaHello hello(const storage::EpochList& epochs, std::int64_t end) {
    wire::ReplicaHello said;
    said.set_group("g");
    said.set_cluster("c");
    said.set_member(2);
    said.set_epoch(4);
    said.set_segmentbytes(4'096);
    said.set_logend(end);
    said.set_isempty(end == 0);
    write_epochs(epochs, *said.mutable_epochs());
    return said;
}

}  // namespace

TEST_SUITE("replication link") {
    TEST_CASE("a slave with a part of the master's log gets what follows") {
        const HelloAnswer answer = answer_hello(master(), hello(kMasterEpochs, 2'500));
        CHECK(answer.code == ResponseCode::kSuccess);
        CHECK(answer.welcome.from() == 2'500);
        CHECK(answer.welcome.cutat() == -1);
        CHECK_FALSE(answer.welcome.isforeign());
        CHECK_FALSE(answer.welcome.needsseed());
        CHECK(answer.welcome.epoch() == 4);
    }

    TEST_CASE("a slave of an older epoch gets the rest of that epoch too") {
        const HelloAnswer answer =
            answer_hello(master(), hello({kMasterEpochs[0], kMasterEpochs[1]}, 1'500));
        CHECK(answer.welcome.from() == 1'500);
        CHECK(answer.welcome.cutat() == -1);
    }

    TEST_CASE("a slave whose log goes on where the master's epoch ended is cut there") {
        const HelloAnswer answer =
            answer_hello(master(), hello({kMasterEpochs[0], kMasterEpochs[1]}, 2'300));
        CHECK(answer.welcome.cutat() == 2'000);
    }

    TEST_CASE("a slave longer than the master in the same epoch is cut") {
        CHECK(answer_hello(master(), hello(kMasterEpochs, 3'100)).welcome.cutat() == 3'000);
    }

    TEST_CASE("an epoch of the same number with another id is another history") {
        const HelloAnswer answer =
            answer_hello(master(), hello({kMasterEpochs[0], {3, 99, LogOffset(1'000)}}, 1'800));
        CHECK(answer.welcome.cutat() == 1'000);
    }

    TEST_CASE("nothing in common: the store is put aside") {
        CHECK(answer_hello(master(), hello({{1, 99, LogOffset(0)}}, 500)).welcome.isforeign());
        CHECK(answer_hello(master(), hello({}, 500)).welcome.isforeign());
    }

    TEST_CASE("a slave that ends below the master's first byte begins anew") {
        const auto said = hello({kMasterEpochs[0]}, 800);
        CHECK(answer_hello(master(LogOffset(900)), said).welcome.isforeign());
        CHECK(answer_hello(master(LogOffset(800)), said).welcome.from() == 800);
    }

    TEST_CASE("an empty slave gets all, or a seed where the first bytes are deleted") {
        CHECK(answer_hello(master(), hello({}, 0)).welcome.from() == 0);
        CHECK_FALSE(answer_hello(master(), hello({}, 0)).welcome.needsseed());
        CHECK(answer_hello(master(LogOffset(900)), hello({}, 0)).welcome.needsseed());
    }

    TEST_CASE("a planted store gets bytes from where it begins") {
        auto said = hello(kMasterEpochs, 900);
        said.set_logfirst(900);
        said.set_isempty(true);
        CHECK(answer_hello(master(LogOffset(900)), said).welcome.from() == 900);
        CHECK(answer_hello(master(LogOffset(1'800)), said).welcome.isforeign());
        auto other = said;
        other.mutable_epochs(2)->set_id(99);
        CHECK(answer_hello(master(LogOffset(900)), other).welcome.isforeign());
    }

    TEST_CASE("a partly filled planted store of another history is put aside") {
        auto said = hello({kMasterEpochs[0], {2, 99, LogOffset(1'500)}}, 950);
        said.set_logfirst(900);
        CHECK(answer_hello(master(LogOffset(900)), said).welcome.isforeign());
    }

    TEST_CASE("a slave that obeys a newer epoch, or has one, is refused and told of") {
        auto obeys = hello(kMasterEpochs, 2'500);
        obeys.set_epoch(5);
        CHECK(answer_hello(master(), obeys).code == ResponseCode::kConflict);
        CHECK(answer_hello(master(), obeys).higher_epoch == 5);
        storage::EpochList newer = kMasterEpochs;
        newer.push_back({6, 66, LogOffset(2'400)});
        CHECK(answer_hello(master(), hello(newer, 2'500)).code == ResponseCode::kConflict);
        CHECK(answer_hello(master(), hello(newer, 2'500)).higher_epoch == 6);
    }

    TEST_CASE("differences of the settings are refused by name") {
        auto size = hello(kMasterEpochs, 2'500);
        size.set_segmentbytes(8'192);
        const HelloAnswer answer = answer_hello(master(), size);
        CHECK(answer.code == ResponseCode::kInvalidParameter);
        CHECK(answer.why.find("8192") != std::string::npos);
        CHECK(answer.why.find("4096") != std::string::npos);
        auto group = hello(kMasterEpochs, 2'500);
        group.set_group("h");
        CHECK(answer_hello(master(), group).code == ResponseCode::kInvalidParameter);
        auto cluster = hello(kMasterEpochs, 2'500);
        cluster.set_cluster("d");
        CHECK(answer_hello(master(), cluster).code == ResponseCode::kInvalidParameter);
        auto member = hello(kMasterEpochs, 2'500);
        member.set_member(1);
        CHECK(answer_hello(master(), member).code == ResponseCode::kInvalidParameter);
    }

    TEST_CASE("a hello that contradicts itself is refused") {
        auto backwards = hello({kMasterEpochs[1], kMasterEpochs[0]}, 2'500);
        CHECK(answer_hello(master(), backwards).code == ResponseCode::kInvalidParameter);
        auto inside_out = hello(kMasterEpochs, 500);
        inside_out.set_logfirst(600);
        CHECK(answer_hello(master(), inside_out).code == ResponseCode::kInvalidParameter);
    }
}

}  // namespace gantry::broker
