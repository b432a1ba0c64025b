// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/harness/daemon_process.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/harness/small_file_system.h"
#include "tests/harness/temp_directory.h"
#include "tests/harness/wait.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

const Settings kSmallStore = {
    {"store.segment_bytes", "8MiB"}, {"store.prefault_bytes", "0"}, {"store.free_bytes_min", "0"}};

/// Runs a broker that is expected to end by itself.
ProgramRun run(const Settings& settings, std::vector<std::string> arguments = {}) {
    Settings all = {{"listen.address", "127.0.0.1"},
                    {"listen.port", "0"},
                    {"http.port", "0"},
                    {"log.level", "off"}};
    all.insert(kSmallStore.begin(), kSmallStore.end());
    for (const auto& [key, value] : settings) {
        all[key] = value;
    }
    for (const auto& [key, value] : all) {
        arguments.insert(arguments.end(), {"--set", key + "=" + value});
    }
    Result<ProgramRun> ran = run_program(BrokerProcess::executable(), arguments);
    REQUIRE_MESSAGE(ran.has_value(), (ran ? "" : to_string(ran.error())));
    return std::move(ran).value();
}

void check_ended(const ProgramRun& run, int code, const std::vector<std::string>& parts) {
    CHECK(run.code == code);
    CHECK(run.out == "");
    CHECK_MESSAGE(run.err.starts_with("gantry-broker: "), run.err);
    CHECK_MESSAGE(run.err.find('\n') + 1 == run.err.size(), run.err);
    for (const std::string& part : parts) {
        CHECK_MESSAGE(run.err.find(part) != std::string::npos, run.err);
    }
}

/// A broker without nameservers, with one message, which later starts must not harm.
class FirstBroker {
public:
    FirstBroker() : broker(directory.path(), "first", "", kSmallStore) {
        const Status started = broker.start();
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        RpcClient client(broker.address());
        REQUIRE(create_topic(client, "T").summary() == "0");
        REQUIRE(send(client, "T", 0, {{"kept"}}).summary() == "0");
    }

    std::string store() const { return (directory.path() / "first" / "store").string(); }

    void check_unharmed() {
        RpcClient client(broker.address());
        CHECK(read_queue(client, "T", 0) == std::vector<std::string>{"kept"});
        CHECK(send(client, "T", 1, {{"more"}}).summary() == "0");
        const Status restarted = broker.restart(true);
        REQUIRE_MESSAGE(restarted.has_value(), (restarted ? "" : to_string(restarted.error())));
        RpcClient again(broker.address());
        CHECK(read_queue(again, "T", 0) == std::vector<std::string>{"kept"});
    }

    TempDirectory directory;
    BrokerProcess broker;
};

int readiness(const BrokerProcess& broker) {
    return http_get(broker.http_port(), "/readyz").value_or({}).status;
}

}  // namespace

TEST_SUITE("process/broker_start") {
    TEST_CASE_FIXTURE(FirstBroker, "a second broker on the same store ends with 1 and names it") {
        check_ended(run({{"store.directory", store()}}), 1, {"lock", store()});
        check_unharmed();
    }

    TEST_CASE_FIXTURE(FirstBroker, "a port in use ends with 1 and names address and port") {
        const std::string elsewhere = (directory.path() / "second").string();
        const std::string port = std::to_string(broker.port());
        check_ended(run({{"store.directory", elsewhere}, {"listen.port", port}}),
                    1,
                    {"127.0.0.1:" + port, "in use"});
        const std::string http_port = std::to_string(broker.http_port());
        check_ended(run({{"store.directory", elsewhere}, {"http.port", http_port}}),
                    1,
                    {"127.0.0.1:" + http_port, "in use"});
        check_unharmed();
        // What did not start keeps nothing: the same store opens later.
        BrokerProcess second(directory.path(), "second", "", kSmallStore);
        second.set("store.directory", elsewhere);
        CHECK(second.start().has_value());
        CHECK(second.stop().has_value());
    }

    TEST_CASE("settings that are unknown, out of range or contradictory end with 2") {
        const TempDirectory directory;
        const std::string store = (directory.path() / "store").string();
        check_ended(run({{"store.flsh", "sync"}}),
                    2,
                    {"unknown setting \"store.flsh\"", "did you mean \"store.flush\"?"});
        check_ended(
            run({{"store.flush", "maybe"}}), 2, {"store.flush", "\"maybe\"", "async, sync"});
        check_ended(run({{"store.segment_bytes", "1KiB"}}),
                    2,
                    {"store.segment_bytes", "\"1KiB\"", "1MiB to 16GiB"});
        check_ended(
            run({{"limits.connections_max", "0"}}), 2, {"limits.connections_max", "\"0\"", "1 to"});
        check_ended(run({{"store.directory", store}, {"store.cache_bytes", "1MiB"}}),
                    2,
                    {"store.cache_bytes 1048576", "store.hot_bytes 268435456"});
        check_ended(run({{"store.directory", store}, {"store.segment_bytes", "1MiB"}}),
                    2,
                    {"store.segment_bytes 1048576", "limits.message_bytes_max 4194304"});
        check_ended(run({{"store.directory", store}, {"broker.name", "a b"}}),
                    2,
                    {"broker.name 'a b'", "1 to 255 characters"});
        check_ended(run({{"store.directory", store}, {"nameserver.addresses", "nowhere"}}),
                    2,
                    {"nameserver.addresses", "\"nowhere\"", "host:port"});
        check_ended(run({{"store.directory", store}, {"listen.address", "nowhere"}}),
                    2,
                    {"listen.address 'nowhere'", "IP address"});
        CHECK_FALSE(std::filesystem::exists(store));
    }

    TEST_CASE("a settings file that is missing, broken or wrong ends with 2 and names the line") {
        const TempDirectory directory;
        const std::string path = (directory.path() / "broker.toml").string();
        check_ended(run({}, {"--config", path}), 2, {path, "No such file"});
        check_ended(
            run({}, {"--config", directory.path().string()}), 2, {directory.path().string()});
        std::ofstream(path) << "[store]\nflush = \"sync\"\n[listen\n";
        check_ended(run({}, {"--config", path}), 2, {path + ":3: "});
        std::ofstream(path) << "[store]\n\nflush = \"sometimes\"\n";
        check_ended(run({}, {"--config", path}), 2, {path + ":3: store.flush = \"sometimes\""});
        std::ofstream(path) << "[topic]\nauto_creat = true\n";
        check_ended(
            run({}, {"--config", path}), 2, {path + ":2: unknown setting \"topic.auto_creat\""});
    }

    TEST_CASE("a store directory that is a file, or cannot be written, ends with 1 and is named") {
        const TempDirectory directory;
        const std::string file = (directory.path() / "file").string();
        std::ofstream(file) << "no directory";
        check_ended(run({{"store.directory", file}}), 1, {file, "Not a directory"});
        check_ended(run({{"store.directory", file + "/store"}}), 1, {file, "Not a directory"});

        auto mounted = SmallFileSystem::mount(directory.path() / "disk", 64U << 20U);
        REQUIRE_MESSAGE(mounted.has_value(), (mounted ? "" : to_string(mounted.error())));
        BrokerProcess broker(directory.path(), "disk", "", kSmallStore);
        REQUIRE(broker.start().has_value());
        REQUIRE(broker.stop().has_value());
        REQUIRE((*mounted)->make_read_only().has_value());
        const std::string store = (directory.path() / "disk" / "store").string();
        check_ended(run({{"store.directory", store}}), 1, {store, "Read-only file system"});
        check_ended(run({{"store.directory", store + "2"}}), 1, {store, "Read-only file system"});
    }

    TEST_CASE("without its nameservers a broker serves, and registers when one comes") {
        const TempDirectory directory;
        NameserverProcess nameserver(directory.path(), "nameserver");
        REQUIRE(nameserver.start().has_value());
        nameserver.kill();
        BrokerProcess broker(directory.path(),
                             "broker",
                             "nowhere.invalid:9876," + nameserver.address(),
                             kSmallStore);
        const Status started = broker.start();
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        CHECK(readiness(broker) == 503);
        RpcClient client(broker.address());
        CHECK(create_topic(client, "T").summary() == "0");
        CHECK(send(client, "T", 0, {{"alone"}}).summary() == "0");
        CHECK(read_queue(client, "T", 0) == std::vector<std::string>{"alone"});

        REQUIRE(nameserver.start().has_value());
        CHECK(wait_until(Process::kPatience, [&] {
            return metric(nameserver.http_port(), "gantry_nameserver_brokers").value_or(0) == 1;
        }));
        CHECK(wait_until(Process::kPatience, [&] { return readiness(broker) == 200; }));
        RpcClient asking(nameserver.address());
        CHECK(route(asking, "T").summary() == "0");
    }
}

}  // namespace gantry::harness
