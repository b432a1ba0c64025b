// SPDX-License-Identifier: Apache-2.0
// Sends orders and receives only those an SQL92 expression matches. The broker filters: the other
// orders never come over the network. See docs/guide/filters.md.
//
//   sql_filter NAMESERVER      for example: sql_filter 127.0.0.1:9876
#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

using namespace gantry;
using namespace gantry::client;

namespace {

constexpr char kTopic[] = "sql-filter-example";

Status create_topic(const std::shared_ptr<Client>& client) {
    GANTRY_ASSIGN_OR_RETURN(const auto admin, AdminClient::create(client, {}));
    TopicSpec spec;
    spec.topic = kTopic;
    spec.read_queues = 2;
    spec.write_queues = 2;
    const Status created = admin->create_topic(spec);
    return !created && created.error().code == Errc::kConflict ? ok() : created;
}

Status send_orders(const std::shared_ptr<Client>& client) {
    GANTRY_ASSIGN_OR_RETURN(const auto producer, Producer::create(client, {}));
    for (int amount = 10; amount <= 100; amount += 10) {
        Message order;
        order.topic = kTopic;
        order.tag = amount <= 50 ? "small" : "large";
        order.properties = {{"amount", std::to_string(amount)},
                            {"country", amount % 20 == 0 ? "FR" : "US"}};
        order.body = "an order of " + std::to_string(amount);
        GANTRY_TRY(producer->send(std::move(order)));
    }
    return producer->close(std::chrono::seconds(3));
}

/// How many came.
Result<int> receive(const std::shared_ptr<Client>& client, const std::string& expression) {
    PullConsumer::Options options;
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.poll_hold = std::chrono::milliseconds(200);
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, PullConsumer::create(client, options));
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer->queues(kTopic));
    GANTRY_TRY(consumer->assign(std::move(queues), MessageSelector::by_sql(expression)));
    std::cout << expression << '\n';
    int count = 0;
    for (;;) {
        const auto messages = consumer->poll(std::chrono::seconds(1));
        if (messages.empty()) {
            return count;
        }
        for (const MessageView& message : messages) {
            std::cout << "  " << message.body() << ", " << message.property("country") << '\n';
            ++count;
        }
    }
}

Status run(const std::string& nameserver) {
    Client::Options options;
    options.nameservers = {nameserver};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(options));
    GANTRY_TRY(create_topic(client));
    GANTRY_TRY(send_orders(client));
    GANTRY_ASSIGN_OR_RETURN(const int some,
                            receive(client, "amount BETWEEN 60 AND 100 AND country = 'FR'"));
    GANTRY_ASSIGN_OR_RETURN(const int tagged, receive(client, "TAGS = 'small' OR amount = 70"));
    std::cout << some << " and " << tagged << " orders\n";
    // An expression that does not parse is refused with where and why.
    const Result<int> refused = receive(client, "amount >");
    if (refused) {
        return Error{Errc::kCorrupt, "the broker took half an expression"};
    }
    std::cout << "refused: " << refused.error().detail << '\n';
    return ok();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: sql_filter NAMESERVER\n";
        return 2;
    }
    const Status done = run(argv[1]);
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
