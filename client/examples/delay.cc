// SPDX-License-Identifier: Apache-2.0
// Sends reminders for later, takes one back, and receives the others when they are due. See
// docs/guide/delay.md.
//
//   delay NAMESERVER TOPIC MS   five reminders, due after MS; the last one is cancelled
#include "client/admin_client.h"
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

constexpr int kReminders = 5;

/// Returns the handle of the last one.
Result<std::string> send_reminders(const std::shared_ptr<Client>& client,
                                   const std::string& topic,
                                   std::chrono::milliseconds later) {
    GANTRY_ASSIGN_OR_RETURN(const auto producer, Producer::create(client, {}));
    std::string handle;
    for (int i = 0; i < kReminders; ++i) {
        Message reminder;
        reminder.topic = topic;
        reminder.body = "reminder " + std::to_string(i);
        reminder.deliver_after = later;
        GANTRY_ASSIGN_OR_RETURN(const SendReceipt receipt, producer->send(std::move(reminder)));
        handle = receipt.recall_handle;
    }
    GANTRY_TRY(producer->close(std::chrono::seconds(3)));
    return handle;
}

Status receive_reminders(const std::shared_ptr<Client>& client, const std::string& topic) {
    PullConsumer::Options options;
    options.start_from.kind = StartFrom::Kind::kFirst;
    options.poll_hold = std::chrono::milliseconds(200);
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, PullConsumer::create(client, options));
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer->queues(topic));
    GANTRY_TRY(consumer->assign(std::move(queues), MessageSelector::by_tag("*")));
    int left = kReminders - 1;
    while (left > 0) {
        for (const MessageView& message : consumer->poll(std::chrono::seconds(1))) {
            std::cout << message.body() << ", stored " << message.store_ms() - message.born_ms()
                      << " ms after it was sent\n";
            --left;
        }
    }
    return ok();
}

Status run(const std::vector<std::string>& arguments) {
    Client::Options where;
    where.nameservers = {arguments[0]};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(where));
    const std::chrono::milliseconds later(std::atoi(arguments[2].c_str()));
    GANTRY_ASSIGN_OR_RETURN(const std::string handle, send_reminders(client, arguments[1], later));
    GANTRY_ASSIGN_OR_RETURN(const auto admin, AdminClient::create(client, {}));
    GANTRY_TRY(admin->cancel_delayed(handle));
    return receive_reminders(client, arguments[1]);
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() != 3) {
        std::cerr << "usage: delay NAMESERVER TOPIC MS\n";
        return 2;
    }
    const Status done = run(arguments);
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
