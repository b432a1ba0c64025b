// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gantry::bench {

/// What to run; see options.cc for the command line.
struct Options {
    std::string command;  ///< produce, consume or e2e
    std::vector<std::string> nameservers;
    std::string topic = "gantry-bench";
    std::string group = "gantry-bench";
    std::uint32_t topics = 1;  ///< above 1: `topic` with -0, -1 … behind it, in turn
    std::uint32_t queues = 8;  ///< of each
    std::uint64_t messages = 1'000'000;
    std::uint64_t warmup = 0;  ///< of these: before the time starts to count (produce)
    std::uint32_t size_bytes = 1024;
    std::uint32_t producers = 1;
    std::uint32_t consumers = 1;
    std::uint32_t in_flight = 64;   ///< unanswered frames per producer
    std::uint32_t batch_bytes = 0;  ///< 0: every message its own frame
    std::uint64_t rate = 0;         ///< messages per second over all producers; 0: unlimited
    std::uint32_t seconds = 0;      ///< consume: stop after that long; 0: read all there is
    std::int32_t queue = -1;        ///< consume: only this queue; -1: all
    std::uint32_t spin_us = 0;
    std::uint32_t send_timeout_ms = 30'000;
    bool check_crc = true;  ///< consumers check each body
    bool retry_unknown = false;
    bool idempotent = false;    ///< producers number their sends
    bool transactions = false;  ///< produce: each message in a transaction, committed at once
    bool pop = false;           ///< consumers pop: any number of them for any number of queues
    std::uint32_t pop_messages = 1'024;  ///< asked for by one pop
    bool json = false;
};

/// Name of the topic `index` of options.topics.
std::string topic_name(const Options& options, std::uint32_t index);

/// Parses the command line. kRefused: unknown option or value, names it. An empty command with an
/// empty error text means that help was printed.
Result<Options> parse_options(int argc, char** argv);

}  // namespace gantry::bench
