// SPDX-License-Identifier: Apache-2.0
// A message that is traced from end to end.
//
//   example_trace NAMESERVER TOPIC
//
// Sends a message, consumes it, and prints what is known of it then. The broker needs
// trace.topic = true.
#include "client/admin_client.h"
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace client = gantry::client;

namespace {

int fail(const gantry::Error& error) {
    std::fprintf(stderr, "%s\n", to_string(error).c_str());
    return 1;
}

/// Sends it and waits for it; its UNIQ_KEY.
gantry::Result<std::string> pass_one(const std::shared_ptr<client::Client>& client,
                                     const std::string& topic) {
    client::PushConsumer::Options consuming;
    consuming.group = "traced";
    consuming.trace_sample = 1;
    consuming.start_from.kind = client::StartFrom::Kind::kFirst;
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, client::PushConsumer::create(client, consuming));
    GANTRY_TRY(consumer->subscribe(topic));
    std::promise<std::string> got;
    GANTRY_TRY(consumer->start([&got](std::span<const client::MessageView> messages) {
        got.set_value(messages.front().message_id());
        return client::ConsumeResult::kSuccess;
    }));
    client::Producer::Options producing;
    producing.trace_sample = 1;
    GANTRY_ASSIGN_OR_RETURN(const auto producer, client::Producer::create(client, producing));
    client::Message message;
    message.topic = topic;
    message.body = "look at me";
    GANTRY_TRY(producer->send(std::move(message)));
    std::string id = got.get_future().get();
    consumer->stop();  // writes the last traces
    GANTRY_TRY(producer->close(std::chrono::seconds(5)));
    return id;
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array<const char*, 5> kNames = {
        "produce", "store", "end-transaction", "deliver", "consume"};
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC\n", argv[0]);
        return 2;
    }
    client::Client::Options where;
    where.nameservers = {argv[1]};
    auto client = client::Client::start(where);
    if (!client) {
        return fail(client.error());
    }
    const auto id = pass_one(*client, argv[2]);
    if (!id) {
        return fail(id.error());
    }
    auto admin = client::AdminClient::create(*client, {});
    if (!admin) {
        return fail(admin.error());
    }
    const auto events = (*admin)->trace(*id);
    if (!events) {
        return fail(events.error());
    }
    std::printf("message %s\n", id->c_str());
    for (const client::TraceEvent& event : *events) {
        std::printf("%s %s %s\n",
                    kNames[static_cast<std::size_t>(event.kind)],
                    event.group.c_str(),
                    event.is_success ? "ok" : "failed");
    }
    return 0;
}
