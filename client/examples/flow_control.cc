// SPDX-License-Identifier: Apache-2.0
// Keeps a topic's rate within a limit, and sends as fast as that allows.
//
//   example_flow_control NAMESERVER TOPIC RATE COUNT
//
// Limits sends to TOPIC to RATE messages a second, then sends COUNT messages without a pause of its
// own. The producer is told when to come again, waits, and loses nothing. Prints how many were
// stored, how long that took and how often a frame was put off; takes the limit away at the end.
#include "client/admin_client.h"
#include "client/client.h"
#include "client/producer.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace client = gantry::client;

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int fail(const gantry::Error& error) {
    std::fprintf(stderr, "%s\n", to_string(error).c_str());
    return 1;
}

/// Sends them; how many were stored.
int send_all(client::Producer& producer, const std::string& topic, int count) {
    std::atomic<int> stored{0};
    for (int n = 0; n < count; ++n) {
        while (true) {
            client::Message message;
            message.topic = topic;
            message.body = "message " + std::to_string(n);
            const gantry::Status accepted = producer.send_async(
                std::move(message),
                [&stored](gantry::Result<client::SendReceipt> sent) { stored += sent ? 1 : 0; });
            if (accepted) {
                break;
            }
            // in_flight_max messages wait already: the limit reaches back to who makes them.
            std::this_thread::sleep_for(milliseconds(5));
        }
    }
    static_cast<void>(producer.close(std::chrono::minutes(1)));
    return stored;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC RATE COUNT\n", argv[0]);
        return 2;
    }
    client::Client::Options where;
    where.nameservers = {argv[1]};
    auto client = client::Client::start(where);
    if (!client) {
        return fail(client.error());
    }
    auto admin = client::AdminClient::create(*client, {});
    if (!admin) {
        return fail(admin.error());
    }
    client::FlowLimit limit;
    limit.scope = client::FlowLimit::Scope::kTopic;
    limit.name = argv[2];
    limit.send_messages = std::atoll(argv[3]);
    if (const gantry::Status set = (*admin)->set_flow_limit(limit); !set) {
        return fail(set.error());
    }
    client::Producer::Options options;
    options.idempotent = true;
    options.deadline = std::chrono::minutes(1);  // for as long a producer waits for its turn
    options.in_flight_max = 1'000;
    auto producer = client::Producer::create(*client, options);
    if (!producer) {
        return fail(producer.error());
    }
    const int count = std::atoi(argv[4]);
    const auto begin = steady_clock::now();
    const int stored = send_all(**producer, argv[2], count);
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
    const double put_off = (*client)->metrics().values()["gantry_client_send_limited_total"];
    std::printf("stored %d in %lld ms, put off %.0f times\n",
                stored,
                static_cast<long long>(took.count()),
                put_off);
    if (const auto removed = (*admin)->remove_flow_limit(limit.scope, limit.name); !removed) {
        return fail(removed.error());
    }
    return stored == count ? 0 : 1;
}
