// SPDX-License-Identifier: Apache-2.0
// Bookings of accounts, each account's in order. See docs/guide/order.md.
//
//   order NAMESERVER TOPIC LEDGER NAME queue|key|park [LEASE_MS]
//
// A member of the group "order-example" that appends "NAME ACCOUNT NUMBER" to the file LEDGER for
// each message "ACCOUNT NUMBER". One that says "ACCOUNT NUMBER bad" cannot be booked as long as
// there is no file LEDGER.healed: it is tried three times, then it is a dead letter, or with "park"
// its account is parked. Ends with SIGINT or SIGTERM.
#include "client/client.h"
#include "client/ordered_consumer.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>

using namespace gantry;
using namespace gantry::client;

namespace {

class Ledger {
public:
    Ledger(const std::string& file, std::string name)
        : file_(file, std::ios::app), healed_(file + ".healed"), name_(std::move(name)) {}

    bool book(std::string_view booking) {
        if (booking.ends_with(" bad") && !std::filesystem::exists(healed_)) {
            return false;
        }
        const std::lock_guard lock(mutex_);
        file_ << name_ + ' ' + std::string(booking) + '\n' << std::flush;
        return true;
    }

private:
    std::mutex mutex_;
    std::ofstream file_;
    std::filesystem::path healed_;
    std::string name_;
};

OrderedConsumer::Options options_of(const std::string& way, int lease_ms) {
    OrderedConsumer::Options options;
    options.group = "order-example";
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.order_by = way == "queue" ? OrderBy::kQueue : OrderBy::kKey;
    options.key_property = "KEYS";  // the senders set one key, the account
    options.threads = 4;
    options.lease = std::chrono::milliseconds(lease_ms);
    options.commit_interval = std::chrono::milliseconds(100);
    options.retry_delay = std::chrono::milliseconds(20);
    options.poisoned = way == "park" ? Poisoned::kPark : Poisoned::kDeadLetter;
    options.attempts_max = 3;
    return options;
}

Status run(const std::string& nameserver,
           const std::string& topic,
           Ledger& ledger,
           const OrderedConsumer::Options& options) {
    // Blocked before there are threads, so that it waits for sigwait.
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGINT);
    sigaddset(&end, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &end, nullptr);
    Client::Options wanted;
    wanted.nameservers = {nameserver};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(wanted));
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, OrderedConsumer::create(client, options));
    GANTRY_TRY(consumer->subscribe(topic));
    GANTRY_TRY(consumer->start([&ledger](std::span<const MessageView> messages) {
        for (const MessageView& message : messages) {
            if (!ledger.book(message.body())) {
                return OrderedResult::later();
            }
        }
        return OrderedResult::success();
    }));
    int signal = 0;
    sigwait(&end, &signal);
    consumer->stop();
    return ok();
}

}  // namespace

int main(int argc, char** argv) {
    const std::string way = argc > 5 ? argv[5] : "";
    const int lease_ms = argc > 6 ? std::atoi(argv[6]) : 15'000;
    if (way != "queue" && way != "key" && way != "park") {
        std::cerr << "usage: order NAMESERVER TOPIC LEDGER NAME queue|key|park [LEASE_MS]\n";
        return 2;
    }
    Ledger ledger(argv[3], argv[4]);
    const Status done = run(argv[1], argv[2], ledger, options_of(way, lease_ms));
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
