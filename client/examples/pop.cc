// SPDX-License-Identifier: Apache-2.0
// Jobs shared among any number of workers.
//
//   example_pop NAMESERVER TOPIC SECONDS [fail]
//
// Works on the messages of TOPIC until none has come for SECONDS, and prints each when it is done.
// Start it as often as you like: however many queues the topic has, each job goes to one worker.
// With `fail`, a job whose text begins with "bad" fails and is given back; when it has been tried
// often enough it goes to the topic %DLQ%workers.
#include "client/client.h"
#include "client/pop_consumer.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace client = gantry::client;

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

/// Works on jobs in the consumer's threads until none has come for `idle`.
gantry::Status work(client::PopConsumer& consumer, bool fails, seconds idle) {
    std::atomic<steady_clock::time_point> last{steady_clock::now()};
    const gantry::Status started = consumer.start([&](std::span<const client::PoppedMessage> jobs) {
        last = steady_clock::now();
        const client::PoppedMessage& job = jobs.front();
        if (fails && job.body().starts_with("bad")) {
            return client::ConsumeResult::kLater;  // comes again after retry_delay
        }
        std::printf("%.*s\n", static_cast<int>(job.body().size()), job.body().data());
        return client::ConsumeResult::kSuccess;  // acknowledged: nobody gets it again
    });
    while (started && steady_clock::now() - last.load() < idle) {
        std::this_thread::sleep_for(milliseconds(20));
    }
    // Waits for the jobs under way, and for the brokers to know what is done.
    const gantry::Status closed = consumer.close(seconds(10));
    return started ? closed : started;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC SECONDS [fail]\n", argv[0]);
        return 2;
    }
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // each job shows when it is done
    client::Client::Options client_options;
    client_options.nameservers = {argv[1]};
    auto client = client::Client::start(client_options);
    if (!client) {
        std::fprintf(stderr, "%s\n", to_string(client.error()).c_str());
        return 1;
    }
    client::PopConsumer::Options options;
    options.group = "workers";
    options.start_from = client::StartFrom::Kind::kFirst;
    options.invisible = seconds(30);  // a worker that dies holds its jobs up for so long
    options.retry_delay = milliseconds(100);
    options.threads = 4;
    auto consumer = client::PopConsumer::create(*client, options);
    if (!consumer) {
        std::fprintf(stderr, "%s\n", to_string(consumer.error()).c_str());
        return 1;
    }
    if (const gantry::Status subscribed = (*consumer)->subscribe(argv[2]); !subscribed) {
        std::fprintf(stderr, "%s\n", to_string(subscribed.error()).c_str());
        return 1;
    }
    const gantry::Status worked = work(**consumer, argc > 4, seconds(std::atoi(argv[3])));
    if (!worked) {
        std::fprintf(stderr, "%s\n", to_string(worked.error()).c_str());
        return 1;
    }
    return 0;
}
