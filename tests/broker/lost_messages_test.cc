// SPDX-License-Identifier: Apache-2.0
#include "broker/delivery/queue_notices.h"
#include "storage/log/lost_ranges.h"
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using Bodies = std::vector<std::string>;

class ManualClock final : public Clock {
public:
    WallMs wall_ms() const noexcept override { return 0; }

    SteadyTime steady() const noexcept override { return now; }

    SteadyTime now{};
};

using Runs = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// A broker that has lost, of the 30 messages of one queue, 0, 10 to 11 and 29.
class Damaged {
public:
    Damaged() {
        REQUIRE(fixture.create_topic("T", 1) == ResponseCode::kSuccess);
        for (int i = 0; i < 30; ++i) {
            bodies.push_back(std::to_string(i));
            const char* const tag = i % 2 == 0 ? "even" : "odd";
            const Answer answer = send(fixture.native(), "T", 0, {{bodies.back(), tag}});
            REQUIRE(answer.summary() == "0");
            places.push_back(answer.fields<wire::SendRecordsResponse>().logoffset());
        }
        // Something behind them, for the last one to have an end.
        const Answer behind = send(fixture.native(), "T", 0, {{"behind"}});
        places.push_back(behind.fields<wire::SendRecordsResponse>().logoffset());
        bodies.push_back("behind");
        const std::filesystem::path store = fixture.broker().options().store_directory;
        fixture.stop();
        const auto files = make_posix_file_system();
        storage::LostRanges ranges(*files, store / "lost");
        for (const std::size_t lost : {0U, 10U, 11U, 29U}) {
            REQUIRE(ranges.add({LogOffset(places[lost]), LogOffset(places[lost + 1])}));
        }
        fixture.restart();
    }

    Answer pull(RpcClient& client, std::int64_t from, const std::string& tags = "*") {
        wire::PullMessageRequest request = pull_of("T", 0, from);
        request.set_subscription(tags);
        return client.call(RequestCode::kPullMessage, &request);
    }

    /// The queue from its start on: pieces told as lost, all else goes to `given`.
    Runs consume(Bodies& given) {
        Runs lost;
        for (std::int64_t at = 0;;) {
            const Answer answer = pull(fixture.native(), at);
            const auto fields = answer.fields<wire::PullMessageResponse>();
            if (answer.code == ResponseCode::kDataLost) {
                lost.push_back({fields.lostfrom(), fields.lostto()});
            } else if (answer.code == ResponseCode::kSuccess) {
                CHECK_FALSE(fields.has_lostfrom());
                for (std::string& body : harness::bodies(answer.body)) {
                    given.push_back(std::move(body));
                }
            } else {
                CHECK(answer.code == ResponseCode::kPullNotFound);
                return lost;
            }
            REQUIRE(fields.nextbeginoffset() > at);
            at = fields.nextbeginoffset();
        }
    }

    double told() {
        return fixture.broker().metrics().values().at("gantry_broker_lost_told_total");
    }

    BrokerFixture fixture;
    Bodies bodies;
    std::vector<std::int64_t> places;  ///< log offsets
};

TEST_SUITE("broker/lost_messages") {
    TEST_CASE_FIXTURE(Damaged,
                      "native consumers are told which offsets are lost, and get the rest") {
        Bodies given;
        CHECK(consume(given) == Runs{{0, 1}, {10, 12}, {29, 30}});
        Bodies rest(bodies.begin() + 1, bodies.begin() + 10);
        rest.insert(rest.end(), bodies.begin() + 12, bodies.begin() + 29);
        rest.push_back("behind");
        CHECK(given == rest);
        CHECK(told() == 4);
        const Answer answer = pull(fixture.native(), 10);
        CHECK(answer.code == ResponseCode::kDataLost);
        CHECK(answer.remark == "DATA_LOST");
        const auto fields = answer.fields<wire::PullMessageResponse>();
        CHECK(fields.nextbeginoffset() == 12);
        CHECK(fields.minoffset() == 0);
        CHECK(fields.maxoffset() == 31);
        CHECK(told() == 6);
    }

    TEST_CASE_FIXTURE(Damaged, "a pull that starts amid lost messages is told of those behind") {
        const auto fields = pull(fixture.native(), 11).fields<wire::PullMessageResponse>();
        CHECK(fields.lostfrom() == 11);
        CHECK(fields.lostto() == 12);
    }

    TEST_CASE_FIXTURE(Damaged, "stock consumers are led around lost messages by code 20") {
        for (RpcClient* const client : {&fixture.json(), &fixture.binary()}) {
            const Answer answer = pull(*client, 10);
            CHECK(answer.code == ResponseCode::kPullRetryImmediately);
            const auto fields = answer.fields<wire::PullMessageResponse>();
            CHECK(fields.nextbeginoffset() == 12);
            CHECK_FALSE(fields.has_lostfrom());
            CHECK_FALSE(fields.has_lostto());
            CHECK(read_queue(*client, "T", 0).size() == 27);
        }
        CHECK(told() == 12);
    }

    TEST_CASE_FIXTURE(Damaged,
                      "what a filter leaves out before lost messages is not told as lost") {
        Answer answer = pull(fixture.native(), 9, "even");
        CHECK(answer.code == ResponseCode::kDataLost);
        auto fields = answer.fields<wire::PullMessageResponse>();
        CHECK(fields.lostfrom() == 10);
        CHECK(fields.lostto() == 12);
        answer = pull(fixture.native(), 2, "neither");
        CHECK(answer.code == ResponseCode::kDataLost);
        fields = answer.fields<wire::PullMessageResponse>();
        CHECK(fields.lostfrom() == 10);
    }

    TEST_CASE_FIXTURE(Damaged, "a lost message asked for by its log offset is told as lost") {
        wire::ViewMessageRequest view;
        view.set_offset(places[10]);
        const Answer native = fixture.native().call(RequestCode::kViewMessageById, &view);
        CHECK(native.code == ResponseCode::kDataLost);
        CHECK(native.remark.find("quarantined") != std::string::npos);
        const Answer stock = fixture.json().call(RequestCode::kViewMessageById, &view);
        CHECK(stock.code == ResponseCode::kSystemError);
    }

    TEST_CASE("one line for a group and a piece of a queue, and not too many a second") {
        ManualClock clock;
        QueueNotices notices(clock, "consumer told of lost messages");
        const auto tell = [&](const std::string& group, std::int64_t from) {
            return notices.tell({group, "T", 0, QueueOffset(from), QueueOffset(from + 1)});
        };
        CHECK(tell("A", 5));
        CHECK_FALSE(tell("A", 5));
        CHECK(tell("B", 5));
        CHECK(tell("A", 6));
        for (std::int64_t from = 100; from < 100 + QueueNotices::kLinesMax - 3; ++from) {
            CHECK(tell("A", from));
        }
        CHECK_FALSE(tell("A", 200));
        clock.now += std::chrono::seconds(1);
        CHECK(tell("A", 201));
        CHECK_FALSE(tell("A", 5));
    }
}

}  // namespace
}  // namespace gantry::broker
