// SPDX-License-Identifier: Apache-2.0
// Orders and messages about them, together or not at all.
//
//   example_transaction NAMESERVER TOPIC ORDERS COUNT SECONDS [DIE_AT]
//
// The "database" is the file ORDERS: a line for each order that was made. Makes COUNT orders, each
// with a message to TOPIC; every third is refused by the shop, and its message must not be seen.
// Stays for SECONDS to answer brokers' questions about orders of earlier runs. With DIE_AT, the
// process dies while it makes that order: the order is in the file, and nobody has committed yet.
#include "client/client.h"
#include "client/transaction_producer.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

namespace client = gantry::client;

namespace {

using client::TransactionOutcome;

/// An order is one line: the transaction's id, and whether it was made.
void write_order(const std::string& file, const std::string& id, bool is_made) {
    std::ofstream(file, std::ios::app) << id << (is_made ? " made\n" : " refused\n") << std::flush;
}

/// What the file says about a transaction. One it does not know may still be under way elsewhere;
/// after a minute its process must be gone.
TransactionOutcome outcome_of(const std::string& file, const client::MessageView& message) {
    constexpr gantry::WallMs kMinute = 60'000;
    std::ifstream orders(file);
    std::string id;
    std::string state;
    while (orders >> id >> state) {
        if (id == message.property("UNIQ_KEY")) {
            return state == "made" ? TransactionOutcome::kCommit : TransactionOutcome::kRollback;
        }
    }
    return gantry::SystemClock().wall_ms() - message.store_ms() > kMinute
               ? TransactionOutcome::kRollback
               : TransactionOutcome::kUnknown;
}

struct Shop {
    std::string topic;
    std::string orders;
    int count = 0;
    int die_at = -1;
};

/// Makes the orders; false when one failed.
bool make_orders(client::TransactionProducer& producer, const Shop& shop) {
    bool is_good = true;
    for (int n = 0; n < shop.count; ++n) {
        client::Message message;
        message.topic = shop.topic;
        message.body = "order " + std::to_string(n);
        const auto sent = producer.send(std::move(message), [&](const client::Transaction& t) {
            const bool is_made = n % 3 != 2;
            write_order(shop.orders, t.id, is_made);
            if (n == shop.die_at) {
                std::raise(SIGKILL);
            }
            return is_made ? TransactionOutcome::kCommit : TransactionOutcome::kRollback;
        });
        if (!sent) {
            std::fprintf(stderr, "order %d: %s\n", n, to_string(sent.error()).c_str());
            is_good = false;
        }
    }
    return is_good;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 6) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC ORDERS COUNT SECONDS [DIE_AT]\n", argv[0]);
        return 2;
    }
    const Shop shop{argv[2], argv[3], std::atoi(argv[4]), argc > 6 ? std::atoi(argv[6]) : -1};
    client::Client::Options client_options;
    client_options.nameservers = {argv[1]};
    auto client = client::Client::start(client_options);
    if (!client) {
        std::fprintf(stderr, "%s\n", to_string(client.error()).c_str());
        return 1;
    }
    client::TransactionProducer::Options options;
    options.group = "shop";
    options.topics = {shop.topic};  // asked about earlier runs' orders before the first of this one
    auto producer = client::TransactionProducer::create(
        *client, options, [&shop](const client::MessageView& message) {
            return outcome_of(shop.orders, message);
        });
    if (!producer) {
        std::fprintf(stderr, "%s\n", to_string(producer.error()).c_str());
        return 1;
    }
    const bool is_good = make_orders(**producer, shop);
    std::this_thread::sleep_for(std::chrono::seconds(std::atoi(argv[5])));
    const gantry::Status closed = (*producer)->close(std::chrono::seconds(5));
    return is_good && closed ? 0 : 1;
}
