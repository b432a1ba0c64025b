// SPDX-License-Identifier: Apache-2.0
// Sends readings of a meter so that each is stored once, whatever happens on the way: cut
// connections, lost answers, a broker that is killed and comes back. See
// docs/guide/exactly-once.md.
//
//   exactly_once NAMESERVER TOPIC COUNT      for example: exactly_once 127.0.0.1:9876 readings 1000
#include "client/client.h"
#include "client/producer.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

using namespace gantry;
using namespace gantry::client;

namespace {

/// What became of the readings.
struct Outcomes {
    std::atomic<int> stored{0};
    std::atomic<int> not_stored{0};
    std::atomic<int> unknown{0};

    void add(const Result<SendReceipt>& result) {
        if (result) {
            ++stored;
        } else if (result.error().code == Errc::kTimeout || result.error().code == Errc::kUnknown) {
            ++unknown;  // the deadline came before the broker did
        } else {
            ++not_stored;
        }
    }
};

Status send_readings(Producer& producer, const std::string& topic, int count, Outcomes& outcomes) {
    for (int i = 0; i < count;) {
        Message reading;
        reading.topic = topic;
        reading.body = "reading " + std::to_string(i);
        const Status accepted = producer.send_async(
            std::move(reading), "meter-7", [&](const auto& result) { outcomes.add(result); });
        if (accepted) {
            ++i;
        } else if (accepted.error().code == Errc::kBusy) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));  // enough is in flight
        } else {
            return accepted;
        }
    }
    return ok();
}

Result<bool> run(const std::string& nameserver, const std::string& topic, int count) {
    Client::Options where;
    where.nameservers = {nameserver};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(where));
    Producer::Options options;
    options.idempotent = true;
    options.deadline = std::chrono::minutes(1);  // as long as a broker may take to come back
    Outcomes outcomes;
    GANTRY_ASSIGN_OR_RETURN(const auto producer, Producer::create(client, options));
    GANTRY_TRY(send_readings(*producer, topic, count, outcomes));
    GANTRY_TRY(producer->flush(options.deadline));
    GANTRY_TRY(producer->close(std::chrono::seconds(3)));
    std::cout << outcomes.stored << " stored once, " << outcomes.not_stored << " not stored, "
              << outcomes.unknown << " unknown\n";
    return outcomes.stored == count;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: exactly_once NAMESERVER TOPIC COUNT\n";
        return 2;
    }
    const Result<bool> all_stored = run(argv[1], argv[2], std::atoi(argv[3]));
    if (!all_stored) {
        std::cerr << to_string(all_stored.error()) << '\n';
        return 1;
    }
    return *all_stored ? EXIT_SUCCESS : EXIT_FAILURE;
}
