// SPDX-License-Identifier: Apache-2.0
// A member of a consumer group that prints what it receives: one that shares the queues with the
// others of its group, or one that gets everything. See docs/guide/groups.md.
//
//   groups NAMESERVER TOPIC broker                   queues that the broker hands over in order
//   groups NAMESERVER TOPIC average|circle|hash      shares queues by its own computing
//   groups NAMESERVER TOPIC broadcast FILE           all messages; its offsets are in FILE
//
// Ends with SIGINT or SIGTERM.
#include "client/client.h"
#include "client/consumer.h"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>

using namespace gantry;
using namespace gantry::client;

namespace {

Result<PushConsumer::Options> options_of(const std::string& way, const std::string& file) {
    PushConsumer::Options options;
    options.group = way == "broadcast" ? "groups-example-all" : "groups-example";
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.threads = 4;
    options.commit_interval = std::chrono::milliseconds(100);
    if (way == "broadcast") {
        options.model = Model::kBroadcasting;
        options.offsets_file = file;
    } else if (way == "broker") {
        options.sharing = Sharing::by_broker();  // the default
    } else if (way == "average") {
        options.sharing.kind = Sharing::Kind::kAverage;
    } else if (way == "circle") {
        options.sharing.kind = Sharing::Kind::kCircle;
    } else if (way == "hash") {
        options.sharing.kind = Sharing::Kind::kConsistentHash;
    } else {
        return Error{Errc::kRefused,
                     "'" + way + "' is none of broker, average, circle, hash, broadcast"};
    }
    return options;
}

Status run(const std::string& nameserver,
           const std::string& topic,
           const PushConsumer::Options& options) {
    // Blocked before there are threads, so that it waits for sigwait.
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGINT);
    sigaddset(&end, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &end, nullptr);
    Client::Options wanted;
    wanted.nameservers = {nameserver};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(wanted));
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, PushConsumer::create(client, options));
    GANTRY_TRY(consumer->subscribe(topic));
    std::mutex printing;
    GANTRY_TRY(consumer->start([&printing](std::span<const MessageView> messages) {
        const std::lock_guard lock(printing);
        for (const MessageView& message : messages) {
            std::cout << message.body() << std::endl;
        }
        return ConsumeResult::kSuccess;
    }));
    int signal = 0;
    sigwait(&end, &signal);
    consumer->stop();
    return ok();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4 && argc != 5) {
        std::cerr << "usage: groups NAMESERVER TOPIC broker|average|circle|hash|broadcast [FILE]\n";
        return 2;
    }
    const Result<PushConsumer::Options> options = options_of(argv[3], argc == 5 ? argv[4] : "");
    const Status done = options ? run(argv[1], argv[2], *options) : options.error();
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
