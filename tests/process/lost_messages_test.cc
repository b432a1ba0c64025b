// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"
#include "tests/process/sender.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace gantry::harness {
namespace {

namespace fs = std::filesystem;

using Runs = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// A cluster whose broker has synced 60 messages of one queue, with a nameserver for real clients.
class Stored {
public:
    Stored() {
        Cluster::Options options;
        options.broker_settings = small_segments();
        options.broker_settings["store.flush"] = "sync";
        auto started = Cluster::start(options);
        REQUIRE_MESSAGE(started.has_value(), (started ? "" : to_string(started.error())));
        cluster = std::move(started).value();
        RpcClient client(broker().address(), wire::Codec::kNative);
        REQUIRE(create_topic(client, "T", 1).summary() == "0");
        for (int i = 0; i < kCount; ++i) {
            bodies.push_back(std::to_string(i) + ' ' + std::string(kBodyBytes, 'b'));
            const Answer answer = send(client, "T", 0, {{bodies.back()}});
            REQUIRE_MESSAGE(answer.summary() == "0", answer.summary());
            places.push_back(answer.fields<wire::SendRecordsResponse>().logoffset());
        }
    }

    BrokerProcess& broker() { return cluster->broker(); }

    /// Changes a byte in the body of a message; the broker does not run.
    void damage(std::size_t number) {
        const std::int64_t at = places[number] + 3'000;
        const std::string name = std::to_string(at / kSegmentBytes * kSegmentBytes);
        fs::path segment;
        for (const auto& entry : fs::recursive_directory_iterator(broker().directory())) {
            if (entry.path().parent_path().filename() == "commitlog" &&
                entry.path().filename() == std::string(20 - name.size(), '0') + name) {
                segment = entry.path();
            }
        }
        REQUIRE_FALSE(segment.empty());
        std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(at % kSegmentBytes);
        file.write("!", 1);
        REQUIRE(file.flush().good());
    }

    /// `gantry consume` of the whole topic.
    ProgramRun consume(const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments{"consume",
                                           "T",
                                           "--from",
                                           "earliest",
                                           "--until-end",
                                           "-o",
                                           "json",
                                           "-n",
                                           cluster->nameserver_addresses(),
                                           "--idle-ms",
                                           "4000"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        Result<ProgramRun> run = run_program(cli_executable(), arguments);
        REQUIRE_MESSAGE(run.has_value(), (run ? "" : to_string(run.error())));
        CHECK_MESSAGE(run->code == 0, run->err);
        return std::move(run).value();
    }

    static constexpr int kCount = 60;

    std::unique_ptr<Cluster> cluster;
    std::vector<std::string> bodies;
    std::vector<std::int64_t> places;  ///< log offset of each
};

/// Lines of `gantry consume`: what is lost, and the bodies of the rest.
std::pair<Runs, std::vector<std::string>> split(const std::string& lines) {
    std::pair<Runs, std::vector<std::string>> found;
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);) {
        const nlohmann::json json = nlohmann::json::parse(line);
        if (json.contains("lost")) {
            found.first.push_back({json["lost"]["from"], json["lost"]["to"]});
        } else {
            found.second.push_back(json["body"]);
        }
    }
    return found;
}

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

TEST_SUITE("process/lost_messages") {
    TEST_CASE_FIXTURE(Stored, "consumers are told what damage has taken, and get all the rest") {
        broker().kill();
        const std::set<std::size_t> damaged{0, 20, 21, 22, 58};
        std::vector<std::string> rest;
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            if (damaged.count(i) == 0) {
                rest.push_back(bodies[i]);
            } else {
                damage(i);
            }
        }
        require_started(broker().start());
        REQUIRE(cluster->wait_for_brokers(1));
        const Runs lost{{0, 1}, {20, 23}, {58, 59}};

        const ProgramRun run = consume();
        const auto [told, given] = split(run.out);
        CHECK(told == lost);
        CHECK(given == rest);
        CHECK_MESSAGE(has(run.err, "messages 20 to 22 are lost (damaged_in_store)"), run.err);
        CHECK_MESSAGE(has(run.err, ", 5 lost"), run.err);

        // A group's commits pass the holes: it is told once.
        CHECK(split(consume({"-g", "readers"}).out) == std::pair(lost, rest));
        const auto again = split(consume({"-g", "readers"}).out);
        CHECK(again.first.empty());
        CHECK(again.second.empty());

        RpcClient stock(broker().address(), wire::Codec::kJson);
        CHECK(read_queue(stock, "T", 0) == rest);
        // More where a reader asked again for what it then dropped.
        CHECK(metric(broker().http_port(), "gantry_broker_lost_told_total").value_or(-1) >= 15);
        const std::string log = broker().process().err();
        const std::string event = "consumer told of lost messages group=readers topic=T queue=0 ";
        CHECK_MESSAGE(count_of(log, event) == 3, log);
        CHECK_MESSAGE(has(log, event + "from=20 to=23"), log);
    }
}

}  // namespace
}  // namespace gantry::harness
