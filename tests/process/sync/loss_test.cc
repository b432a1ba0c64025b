// SPDX-License-Identifier: Apache-2.0
#include "client/admin_client.h"
#include "tests/harness/http_get.h"
#include "tests/harness/wait.h"
#include "tests/process/sync/sync_fixture.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

constexpr std::chrono::milliseconds kPatience{30'000};

client::QueueStatus first_queue(const Site& site) {
    auto admin = client::AdminClient::create(site.connect(), {}).value();
    const auto status = admin->topic_status("T");
    return status && !status->empty() ? status->front() : client::QueueStatus{};
}

/// Waits until the daemon says that it is not ready, and why.
std::string wait_for_reason(const SyncProcess& sync, const std::string& part) {
    std::string body;
    CHECK(wait_until(kPatience, [&] {
        const Result<HttpAnswer> ready = http_get(sync.http_port(), "/readyz");
        body = ready ? ready->body : "";
        return ready && ready->status == 503 && body.find(part) != std::string::npos;
    }));
    return body;
}

double lost(const SyncProcess& sync) {
    return metric(sync.http_port(), "gantry_sync_lost_messages_total{route=\"r\"}").value_or(0);
}

}  // namespace

TEST_SUITE("process/sync_losses") {
    TEST_CASE("retention that overtakes a route is an alarm, or is counted, as its file says") {
        constexpr std::int64_t kCopied = 100;
        Site a(1, {{"retention.check_seconds", "1"}});
        Site b;
        const TempDirectory directory;
        a.create("T", 1);
        const auto routes = [&](const std::string& more) {
            return routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                             route_of("r", "a", "b", more));
        };
        SyncProcess sync(directory.path(), "sync", routes(""));
        sync.start();
        a.send("T", "m", kCopied);
        REQUIRE(b.wait_for("T", kCopied));
        REQUIRE(sync.stop() == 0);
        a.send("T", "n", 400);
        auto admin = client::AdminClient::create(a.connect(), {}).value();
        client::TopicSpec spec = admin->describe_topic("T").value().front().spec;
        spec.attributes["retention.bytes"] = "30000";
        require_ok(admin->update_topic(spec));
        REQUIRE(wait_until(kPatience, [&] { return first_queue(a).min_offset > kCopied + 50; }));
        const std::int64_t first = first_queue(a).min_offset;
        sync.start();
        wait_for_reason(sync, "messages 100 to " + std::to_string(first - 1) + " are gone");
        CHECK(b.count("T") == kCopied);
        sync.set_routes(routes("on_loss = \"continue\""));
        REQUIRE(b.wait_for("T", kCopied + 500 - first));
        CHECK(wait_until(kPatience,
                         [&] { return lost(sync) == static_cast<double>(first - kCopied); }));
    }

    TEST_CASE("a message that the target refuses holds up its queue, or is passed over alone") {
        Site a;
        Site b(1, {{"limits.message_bytes_max", "64KiB"}});
        const TempDirectory directory;
        a.create("T", 1);
        a.send("T", "m", 50);
        a.send("T", std::string(100'000, 'x'), 1);
        a.send("T", "n", 50);
        const auto routes = [&](const std::string& more) {
            return routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}},
                             route_of("r", "a", "b", more));
        };
        SyncProcess sync(directory.path(), "sync", routes(""));
        sync.start();
        const std::string why = wait_for_reason(sync, "refuses the message at offset 50");
        CHECK_MESSAGE(why.find("limits.message_bytes_max") != std::string::npos, why);
        CHECK(b.count("T") == 50);
        sync.set_routes(routes("on_loss = \"continue\""));
        REQUIRE(b.wait_for("T", 100));
        std::vector<Found> originals = a.read("T");
        std::erase_if(originals, [](const Found& found) { return found.body.size() > 1'000; });
        check_same(originals, b.read("T"));
    }

    TEST_CASE("a source topic that was made anew stops its route") {
        Site a;
        Site b;
        const TempDirectory directory;
        a.create("T", 1);
        SyncProcess sync(
            directory.path(),
            "sync",
            routes_of({{"a", a.nameserver()}, {"b", b.nameserver()}}, route_of("r", "a", "b")));
        sync.start();
        a.send("T", "m", 50);
        REQUIRE(b.wait_for("T", 50));
        auto admin = client::AdminClient::create(a.connect(), {}).value();
        require_ok(admin->delete_topic("T"));
        a.create("T", 1);
        wait_for_reason(sync, "the source ends at 0, below what was copied");
        CHECK(b.count("T") == 50);
    }
}

}  // namespace gantry::harness
