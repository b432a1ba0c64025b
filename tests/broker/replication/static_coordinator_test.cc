// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/static_coordinator.h"

#include "common/bytes.h"
#include "tests/broker/replication/watched_view.h"
#include "tests/harness/temp_directory.h"

#include <doctest/doctest.h>

#include <map>

namespace gantry::broker::test {
namespace {

using std::chrono::milliseconds;

/// What each address answers; nothing: nobody is there.
class Peers {
public:
    void set(const std::string& address, std::optional<wire::ReplicaStatus> status) {
        const std::lock_guard hold(mutex_);
        answers_[address] = std::move(status);
    }

    StaticCoordinator::Ask ask() {
        return [this](const std::string& address,
                      UniqueFunction<void(Result<wire::ReplicaStatus>)> done) {
            const std::lock_guard hold(mutex_);
            const auto& answer = answers_[address];
            done(answer ? Result<wire::ReplicaStatus>(*answer)
                        : Result<wire::ReplicaStatus>(Error{Errc::kGone, address}));
        };
    }

private:
    std::mutex mutex_;
    std::map<std::string, std::optional<wire::ReplicaStatus>> answers_;
};

wire::ReplicaStatus status_of(std::int64_t member, const GroupState& state) {
    wire::ReplicaStatus status;
    status.set_member(member);
    status.set_storageid(member_number(member).id.storage);
    status.set_epoch(state.epoch);
    status.set_ismaster(state.master == member);
    status.set_master(state.master);
    for (const MemberId& id : state.members) {
        wire::InSyncMember& one = *status.add_insync();
        one.set_member(id.member);
        one.set_storageid(id.storage);
    }
    return status;
}

struct Place {
    std::unique_ptr<Coordinator> open(const std::vector<std::string>& addresses) {
        auto opened = loop.run([&] {
            return StaticCoordinator::open(*loop,
                                           clock,
                                           *files,
                                           {.peers = addresses,
                                            .file = file,
                                            .interval = milliseconds(20),
                                            .silence_max = milliseconds(200)},
                                           peers.ask());
        });
        REQUIRE(opened);
        return std::move(*opened);
    }

    harness::TempDirectory directory;
    std::filesystem::path file = directory.path() / "replica" / "group";
    std::unique_ptr<FileSystem> files = make_posix_file_system();
    SystemClock clock;
    Peers peers;
    net::test::LoopThread loop;
};

}  // namespace

TEST_SUITE("broker/replication/static_coordinator") {
    TEST_CASE("a state that was swapped in is there after a restart") {
        Place place;
        {
            Seat seat(place.loop, place.open({}));
            seat.start(member_number(1));
            CHECK(seat.wait_for([](const GroupView& view) { return view.is_current; }));
            CHECK(seat.view().revision == 0);
            CHECK(seat.swap(0, state_with(1, 1)).value() == 1);
            CHECK(seat.swap(0, state_with(2, 1)).error().code == Errc::kConflict);
            CHECK(seat.wait_for([](const GroupView& view) { return view.state.epoch == 1; }));
            CHECK(seat.lease_until() == SteadyTime::max());
            seat.stop();
        }
        Seat seat(place.loop, place.open({}));
        seat.start(member_number(1));
        CHECK(seat.wait_for([](const GroupView& view) { return view.state == state_with(1, 1); }));
        CHECK(seat.view().revision != 0);
    }

    TEST_CASE("a file that holds no state is refused and left alone") {
        Place place;
        REQUIRE(place.files->create_directories(place.file.parent_path()));
        REQUIRE(write_file_atomically(*place.files, place.file, as_bytes("{\"epoch\":")));
        const auto opened = place.loop.run([&] {
            return StaticCoordinator::open(
                *place.loop, place.clock, *place.files, {.peers = {}, .file = place.file}, {});
        });
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == Errc::kCorrupt);
        CHECK(opened.error().detail.find(place.file.string()) != std::string::npos);
    }

    TEST_CASE("the view is current once every peer has answered or failed to") {
        Place place;
        place.peers.set("a:1", status_of(2, state_with(3, 2)));
        Seat seat(place.loop, place.open({"a:1", "b:1"}));
        seat.start(member_number(1));
        CHECK(seat.wait_for([](const GroupView& view) { return view.is_current; }));
        CHECK(seat.view().state == state_with(3, 2));
        REQUIRE(seat.view().live.size() == 2);
        CHECK(seat.view().live[1].replication_address == "a:1");
        place.peers.set("a:1", std::nullopt);
        CHECK(seat.wait_for([](const GroupView& view) { return view.live.size() == 1; }));
    }

    TEST_CASE("the higher epoch counts, of equal ones what its master says of its members") {
        Place place;
        Seat seat(place.loop, place.open({"a:1", "b:1"}));
        seat.start(member_number(1));
        REQUIRE(seat.swap(0, state_with(4, 1)));
        place.peers.set("a:1", status_of(2, state_with(3, 2)));
        CHECK(seat.wait_for([](const GroupView& view) { return view.live.size() == 2; }));
        CHECK(seat.view().state == state_with(4, 1));
        place.peers.set("a:1", status_of(2, state_with(5, 2)));
        CHECK(seat.wait_for([](const GroupView& view) { return view.state.epoch == 5; }));
        const GroupState grown = state_with(5, 2).with(member_number(1).id);
        place.peers.set("b:1", status_of(3, grown));  // hearsay
        CHECK(seat.wait_for([](const GroupView& view) { return view.live.size() == 3; }));
        CHECK(seat.view().state == state_with(5, 2));
        place.peers.set("a:1", status_of(2, grown));
        CHECK(seat.wait_for([&](const GroupView& view) { return view.state == grown; }));
        const Result<std::string> saved = read_file(*place.files, place.file, 1'000);
        CHECK(saved.value() == encode_state(grown) + "\n");
    }

    TEST_CASE("of two who were elected at once the lower number stays") {
        Place place;
        place.peers.set("a:1", status_of(2, state_with(4, 2)));
        Seat seat(place.loop, place.open({"a:1"}));
        SUBCASE("this one") {
            seat.start(member_number(1));
            REQUIRE(seat.wait_for([](const GroupView& view) { return view.state.epoch == 4; }));
            REQUIRE(seat.swap(seat.view().revision, state_with(5, 1)));
            place.peers.set("a:1", status_of(2, state_with(5, 2)));
            place.peers.set("a:1", status_of(2, state_with(5, 2)));
            CHECK(seat.wait_for([](const GroupView& view) { return view.state.epoch == 5; }));
            CHECK(seat.view().state == state_with(5, 1));
        }
        SUBCASE("the other one") {
            seat.start(member_number(3));
            REQUIRE(seat.wait_for([](const GroupView& view) { return view.state.epoch == 4; }));
            REQUIRE(seat.swap(seat.view().revision, state_with(5, 3)));
            place.peers.set("a:1", status_of(2, state_with(5, 2)));
            CHECK(seat.wait_for([](const GroupView& view) { return view.state.master == 2; }));
        }
    }
}

}  // namespace gantry::broker::test
