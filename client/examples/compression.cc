// SPDX-License-Identifier: Apache-2.0
// Sends a page of text compressed by each method, and receives the pages as they were. See
// docs/guide/compression.md.
//
//   compression NAMESERVER TOPIC send      one page by each method
//   compression NAMESERVER TOPIC receive   key and size of each page
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

using namespace gantry;
using namespace gantry::client;

namespace {

using Method = Compression::Method;

std::string page() {
    std::string text;
    for (int line = 0; line < 2'000; ++line) {
        text += "This is line " + std::to_string(line) + ", much like the one before it.\n";
    }
    return text;
}

Status send_pages(const std::shared_ptr<Client>& client, const std::string& topic) {
    const std::pair<const char*, Method> methods[] = {{"none", Method::kNone},
                                                      {"zlib", Method::kZlib},
                                                      {"lz4", Method::kLz4},
                                                      {"zstd", Method::kZstd}};
    for (const auto& [name, method] : methods) {
        Producer::Options options;
        options.compression.method = method;
        GANTRY_ASSIGN_OR_RETURN(const auto producer, Producer::create(client, options));
        Message message;
        message.topic = topic;
        message.keys = {name};
        message.body = page();
        GANTRY_TRY(producer->send(std::move(message)));
        GANTRY_TRY(producer->close(std::chrono::seconds(3)));
    }
    return ok();
}

Status receive_pages(const std::shared_ptr<Client>& client, const std::string& topic) {
    PullConsumer::Options options;
    options.start_from.kind = StartFrom::Kind::kFirst;
    GANTRY_ASSIGN_OR_RETURN(const auto consumer, PullConsumer::create(client, options));
    GANTRY_ASSIGN_OR_RETURN(auto queues, consumer->queues(topic));
    GANTRY_TRY(consumer->assign(std::move(queues)));
    for (;;) {
        const auto messages = consumer->poll(std::chrono::seconds(1));
        if (messages.empty()) {
            return ok();
        }
        for (const MessageView& message : messages) {
            std::cout << message.keys() << ": " << message.body().size() << " bytes"
                      << (message.body() == page() ? "" : ", not what was sent") << '\n';
        }
    }
}

Status run(const std::string& nameserver, const std::string& topic, const std::string& what) {
    Client::Options where;
    where.nameservers = {nameserver};
    GANTRY_ASSIGN_OR_RETURN(const auto client, Client::start(where));
    return what == "send" ? send_pages(client, topic) : receive_pages(client, topic);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: compression NAMESERVER TOPIC send|receive\n";
        return 2;
    }
    const Status done = run(argv[1], argv[2], argv[3]);
    if (!done) {
        std::cerr << to_string(done.error()) << '\n';
        return 1;
    }
    return EXIT_SUCCESS;
}
