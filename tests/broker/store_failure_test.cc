// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/batch.h"
#include "protocol/wire/message_id.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"

#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gantry::broker {
namespace {

using storage::FaultyFileSystem;
using Bodies = std::vector<std::string>;

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// A broker with sync flush whose disk can be told to fail, and a topic "T" with one message.
class OnFaultyDisk {
public:
    OnFaultyDisk() : OnFaultyDisk(std::make_unique<FaultyFileSystem>()) {}

    /// The next sync of the log fails; later ones would not.
    void fail_next_sync() {
        faulty.fail({.call = storage::Call::kSync, .path_part = "commitlog/0", .stays = false});
    }

    FaultyFileSystem& faulty;
    BrokerFixture fixture;

private:
    explicit OnFaultyDisk(std::unique_ptr<FaultyFileSystem> files)
        : faulty(*files),
          fixture([](BrokerOptions& o) { o.store_flush = "sync"; }, std::move(files)) {
        REQUIRE(fixture.create_topic("T") == ResponseCode::kSuccess);
        REQUIRE(send(fixture.native(), "T", 0, {{"durable"}}).summary() == "0");
    }
};

/// What holds once a sync has failed, and after a restart on a disk that works again. `durable`:
/// what was acknowledged; `unknown`: what their senders were told nobody knows the fate of.
void check_read_only(OnFaultyDisk& at, const Bodies& durable, const Bodies& unknown) {
    BrokerFixture& f = at.fixture;
    const Answer native = send(f.native(), "T", 0, {{"refused"}});
    CHECK_MESSAGE(native.code == ResponseCode::kReadOnly, native.summary());
    CHECK_MESSAGE(has(native.remark, "injected failure"), native.summary());
    const wire::SendMessageRequest request = stock_send("T", 0);
    const Answer stock = f.json().call(RequestCode::kSendMessageV2, &request, "refused");
    CHECK_MESSAGE(stock.code == ResponseCode::kServiceNotAvailable, stock.summary());
    CHECK(f.create_topic("U") == ResponseCode::kReadOnly);

    CHECK(read_queue(f.native(), "T", 0) == durable);
    CHECK(read_queue(f.json(), "T", 0) == durable);
    const auto ready = harness::http_get(f.broker().http_port(), "/readyz");
    REQUIRE(ready);
    CHECK(ready->status == 503);
    CHECK_MESSAGE(has(ready->body, "injected failure"), ready->body);

    at.faulty.heal();
    f.restart();
    const Bodies kept = read_queue(f.native(), "T", 0);
    Bodies all = durable;
    all.insert(all.end(), unknown.begin(), unknown.end());
    REQUIRE(kept.size() >= durable.size());
    REQUIRE(kept.size() <= all.size());
    CHECK(kept == Bodies(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept.size())));
    const Answer next = send(f.native(), "T", 0, {{"next"}});
    CHECK(next.summary() == "0");
    CHECK(next.fields<wire::SendRecordsResponse>().queueoffset() ==
          static_cast<std::int64_t>(kept.size()));
}

TEST_SUITE("broker/store_failures") {
    TEST_CASE_FIXTURE(OnFaultyDisk,
                      "sends whose sync failed are not acknowledged, nor later ones") {
        fail_next_sync();
        std::vector<std::future<Answer>> answers;
        wire::SendRecordsRequest request;
        request.set_topic("T");
        request.set_count(1);
        Bodies unknown;
        for (int i = 0; i < 20; ++i) {
            unknown.push_back("unknown " + std::to_string(i));
            answers.push_back(fixture.native().start(
                RequestCode::kSendRecords, &request, records("T", 0, {{unknown.back()}})));
        }
        std::size_t failed_late = 0;
        for (std::future<Answer>& answer : answers) {
            const Answer got = answer.get();
            REQUIRE(got.transport);
            const bool is_late = got.code == ResponseCode::kUnknownOutcome;
            CHECK_MESSAGE((is_late || got.code == ResponseCode::kReadOnly), got.summary());
            CHECK_MESSAGE(has(got.remark, "injected failure"), got.summary());
            failed_late += is_late ? 1 : 0;
        }
        CHECK(failed_late > 0);
        unknown.resize(failed_late);
        check_read_only(*this, {"durable"}, unknown);
    }

    TEST_CASE_FIXTURE(OnFaultyDisk, "a stock sender whose sync failed gets FLUSH_DISK_TIMEOUT") {
        const wire::SendMessageRequest request = stock_send("T", 0);
        for (RpcClient* const client : {&fixture.json(), &fixture.binary()}) {
            CHECK(client->call(RequestCode::kSendMessage, &request, "early").summary() == "0");
        }
        fail_next_sync();
        Bodies unknown;
        Answer answer;
        SUBCASE("for a message") {
            answer = fixture.json().call(RequestCode::kSendMessageV2, &request, "late");
            unknown.emplace_back("late");
        }
        SUBCASE("for a message in the binary codec") {
            answer = fixture.binary().call(RequestCode::kSendMessage, &request, "late");
            unknown.emplace_back("late");
        }
        SUBCASE("for a batch") {
            wire::SendMessageRequest of_batch = request;
            of_batch.set_batch(true);
            std::string batch;
            for (const std::string body : {"one", "two"}) {
                wire::append_batch_element(batch, {0, as_bytes(body), {}});
                unknown.push_back(body);
            }
            answer = fixture.json().call(RequestCode::kSendBatchMessage, &of_batch, batch);
        }
        CHECK_MESSAGE(answer.code == ResponseCode::kFlushDiskTimeout, answer.summary());
        CHECK_MESSAGE(has(answer.remark, "injected failure"), answer.summary());
        const auto fields = answer.fields<wire::SendMessageResponse>();
        CHECK(fields.queueid() == 0);
        CHECK(fields.queueoffset() == 3);
        CHECK(wire::parse_message_id(fields.msgid().substr(0, 32)));
        check_read_only(*this, {"durable", "early", "early"}, unknown);
    }

    TEST_CASE_FIXTURE(OnFaultyDisk, "commits and creations whose sync failed get an error") {
        SUBCASE("of an offset") {
            fail_next_sync();
            wire::UpdateConsumerOffsetRequest commit;
            commit.set_consumergroup("CG");
            commit.set_topic("T");
            commit.set_queueid(0);
            commit.set_commitoffset(1);
            const Answer answer =
                fixture.native().call(RequestCode::kUpdateConsumerOffset, &commit);
            CHECK_MESSAGE(answer.code != ResponseCode::kSuccess, answer.summary());
            CHECK_MESSAGE(has(answer.remark, "injected failure"), answer.summary());
        }
        SUBCASE("of a topic") {
            fail_next_sync();
            const Answer answer = harness::create_topic(fixture.native(), "U");
            CHECK_MESSAGE(answer.code == ResponseCode::kUnknownOutcome, answer.summary());
            CHECK_MESSAGE(has(answer.remark, "injected failure"), answer.summary());
        }
        check_read_only(*this, {"durable"}, {});
    }

    TEST_CASE("a full disk refuses sends with the numbers, and takes them again once it has room") {
        auto files = std::make_unique<FaultyFileSystem>();
        FaultyFileSystem& faulty = *files;
        BrokerFixture f(
            [](BrokerOptions& o) {
                o.message_bytes_max = 64 << 10;
                o.store_segment_bytes = 1 << 20;
                o.store_prefault_bytes = 0;
                o.store_free_bytes_min = 5'000;
            },
            std::move(files));
        REQUIRE(f.create_topic("T", 1) == ResponseCode::kSuccess);
        faulty.set_free_bytes((1 << 20) + 4'999);
        Bodies kept;
        Answer answer;
        do {
            REQUIRE(kept.size() < 1'000);
            kept.push_back(std::to_string(kept.size()) + std::string(60'000, 'x'));
            answer = send(f.native(), "T", 0, {{kept.back()}});
        } while (answer.summary() == "0");
        kept.pop_back();
        CHECK_MESSAGE(answer.code == ResponseCode::kDiskFull, answer.summary());
        for (const char* const part : {"commitlog",
                                       "1053575 B free",
                                       "store.segment_bytes 1048576",
                                       "store.free_bytes_min 5000"}) {
            CHECK_MESSAGE(has(answer.remark, part), answer.summary());
        }
        const wire::SendMessageRequest stock = stock_send("T", 0);
        const Answer refused =
            f.json().call(RequestCode::kSendMessageV2, &stock, std::string(60'000, 'x'));
        CHECK_MESSAGE(refused.code == ResponseCode::kServiceNotAvailable, refused.summary());
        CHECK(read_queue(f.native(), "T", 0) == kept);

        faulty.set_free_bytes(std::nullopt);
        const std::string body(60'000, 'y');
        CHECK(harness::wait_until(RpcClient::kPatience, [&] {
            answer = send(f.native(), "T", 0, {{body}});
            return answer.summary() == "0";
        }));
        kept.push_back(body);
        CHECK(read_queue(f.native(), "T", 0) == kept);
        f.restart();
        CHECK(read_queue(f.native(), "T", 0) == kept);
    }

    TEST_CASE("a disk slower than its senders bounds what waits for it, with a typed refusal") {
        auto files = std::make_unique<FaultyFileSystem>();
        FaultyFileSystem& faulty = *files;
        constexpr std::int64_t kPendingMax = 8;
        BrokerFixture f(
            [](BrokerOptions& o) {
                o.store_flush = "sync";
                o.loop_count = 1;
                o.pending_acks_max = kPendingMax;
            },
            std::move(files));
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        const auto pending = [&] {
            return harness::metric(f.broker().http_port(), "gantry_broker_pending_acks")
                .value_or(-1);
        };
        faulty.hold_syncs("commitlog/0");
        wire::SendRecordsRequest request;
        request.set_topic("T");
        request.set_count(1);
        std::vector<std::future<Answer>> answers;
        Bodies kept;
        for (std::int64_t i = 0; i < kPendingMax; ++i) {
            kept.push_back("kept " + std::to_string(i));
            answers.push_back(f.native().start(
                RequestCode::kSendRecords, &request, records("T", 0, {{kept.back()}})));
        }
        REQUIRE(harness::wait_until(std::chrono::seconds(30),
                                    [&] { return pending() == double(kPendingMax); }));
        for (int i = 0; i < 20; ++i) {
            const Answer native = send(f.native(), "T", 0, {{"refused"}});
            CHECK_MESSAGE(native.code == ResponseCode::kSystemBusy, native.summary());
            CHECK_MESSAGE(has(native.remark, "limits.pending_acks_max 8"), native.summary());
            const wire::SendMessageRequest stock = stock_send("T", 0);
            CHECK(f.json().call(RequestCode::kSendMessageV2, &stock, "refused").code ==
                  ResponseCode::kSystemBusy);
        }
        CHECK(pending() == double(kPendingMax));
        CHECK(read_queue(f.native(), "T", 0).empty());

        faulty.let_go(1'000'000);
        for (std::future<Answer>& answer : answers) {
            CHECK(answer.get().summary() == "0");
        }
        kept.emplace_back("after");
        CHECK(send(f.native(), "T", 0, {{"after"}}).summary() == "0");
        CHECK(read_queue(f.native(), "T", 0) == kept);
        CHECK(pending() == 0);
    }

    TEST_CASE("log that the disk has not taken yet is bounded in bytes, with async flush too") {
        auto files = std::make_unique<FaultyFileSystem>();
        FaultyFileSystem& faulty = *files;
        BrokerFixture f([](BrokerOptions& o) { o.unflushed_bytes_max = 100'000; },
                        std::move(files));
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
        faulty.hold_syncs("commitlog/0");
        Bodies kept;
        Answer answer;
        while (kept.size() < 1'000) {
            const std::string body(10'000, static_cast<char>('a' + kept.size() % 26));
            answer = send(f.native(), "T", 0, {{body}});
            if (answer.summary() != "0") {
                break;
            }
            kept.push_back(body);
        }
        CHECK_MESSAGE(answer.code == ResponseCode::kSystemBusy, answer.summary());
        CHECK_MESSAGE(has(answer.remark, "limits.unflushed_bytes_max 100000"), answer.summary());
        CHECK(kept.size() >= 9);
        CHECK(read_queue(f.native(), "T", 0) == kept);

        faulty.let_go(1'000'000);
        kept.emplace_back("after");
        CHECK(harness::wait_until(std::chrono::seconds(30), [&] {
            return send(f.native(), "T", 0, {{"after"}}).summary() == "0";
        }));
        CHECK(read_queue(f.native(), "T", 0) == kept);
    }
}

}  // namespace
}  // namespace gantry::broker
