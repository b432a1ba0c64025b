// SPDX-License-Identifier: Apache-2.0
#include "tests/harness/broker_calls.h"
#include "tests/harness/cluster.h"
#include "tests/harness/http_get.h"
#include "tests/harness/programs.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace gantry::harness {
namespace {

/// The lines that the example prints, sorted.
std::vector<std::string> run_example(Cluster& cluster, const std::string& what) {
    const Result<ProgramRun> run =
        run_program(GANTRY_COMPRESSION_EXAMPLE, {cluster.nameserver().address(), "T", what});
    REQUIRE(run);
    CHECK_MESSAGE(run->code == 0, run->err);
    std::vector<std::string> lines;
    std::istringstream text(run->out);
    for (std::string line; std::getline(text, line);) {
        lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
}

}  // namespace

TEST_SUITE("process/compression") {
    TEST_CASE("compressed bodies are small in the log, and what they were after a kill") {
        Cluster::Options options;
        options.broker_settings = {{"store.free_bytes_min", "0"}};
        const auto started = Cluster::start(options);
        REQUIRE(started);
        Cluster& cluster = **started;
        RpcClient direct(cluster.broker().address());
        REQUIRE(create_topic(direct, "T", 2).summary() == "0");
        run_example(cluster, "send");
        // One of four pages of 100 kB is stored as it is.
        const double stored =
            metric(cluster.broker().http_port(), "gantry_broker_bytes_in_total").value_or(0);
        CHECK(stored > 90'000);
        CHECK(stored < 190'000);
        cluster.broker().kill();
        REQUIRE(cluster.broker().start());
        REQUIRE(cluster.wait_for_brokers(1));
        const std::vector<std::string> lines = run_example(cluster, "receive");
        REQUIRE(lines.size() == 4);
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const std::string method = std::vector<std::string>{"lz4", "none", "zlib", "zstd"}[i];
            CHECK(lines[i].find(method + ": ") == 0);
            CHECK_MESSAGE(lines[i].find("not what was sent") == std::string::npos, lines[i]);
        }
    }
}

}  // namespace gantry::harness
