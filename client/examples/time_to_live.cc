// SPDX-License-Identifier: Apache-2.0
// Sends offers that are good for a while, and receives those that still are. See
// docs/guide/ttl.md.
//
//   time_to_live NAMESERVER TOPIC send MS   offers good for MS and for an hour, in turn
//   time_to_live NAMESERVER TOPIC receive   what is still good
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using namespace gantry;
using namespace gantry::client;

namespace {

Status send_offers(const std::shared_ptr<Client>& client,
                   const std::string& topic,
                   std::chrono::milliseconds good_for) {
    GANTRY_ASSIGN_OR_RETURN(const auto producer, Producer::create(client, {}));
    for (int i = 0; i < 10; ++i) {
        Message offer;
        offer.topic = topic;
        offer.body = "offer " + std::to_string(i);
        offer.time_to_live = i % 2 == 0 ? good_for : std::chrono::hours(1);
        GANTRY_TRY(producer->send(std::move(offer)));
    }
    return producer->close(std::chrono::seconds(3));
}

Status receive_offers(const std::shared_ptr<Client>& client, const std::string& topic) {
    PullConsumer::Options options;
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.poll_hold = std::chrono::milliseconds(200);
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, PullConsumer::create(client, options));
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer->queues(topic));
    GANTRY_TRY(consumer->assign(std::move(queues), MessageSelector::by_tag("*")));
    for (;;) {
        const auto messages = consumer->poll(std::chrono::seconds(1));
        if (messages.empty()) {
            return ok();
        }
        for (const MessageView& message : messages) {
            std::cout << message.body() << " of " << message.born_ms() << ", good until "
                      << message.expires_ms() << '\n';
        }
    }
}

Status run(const std::vector<std::string>& arguments) {
    Client::Options where;
    where.nameservers = {arguments[0]};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(where));
    return arguments[2] == "send"
               ? send_offers(client,
                             arguments[1],
                             std::chrono::milliseconds(std::atoi(arguments[3].c_str())))
               : receive_offers(client, arguments[1]);
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() < 3 || (arguments[2] == "send" && arguments.size() != 4)) {
        std::cerr << "usage: time_to_live NAMESERVER TOPIC send MS | receive\n";
        return 2;
    }
    const Status done = run(arguments);
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
