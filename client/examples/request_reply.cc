// SPDX-License-Identifier: Apache-2.0
// Questions and answers over a topic.
//
//   example_request_reply NAMESERVER TOPIC serve SECONDS
//   example_request_reply NAMESERVER TOPIC ask NUMBER...
//
// The server answers each number with its square. Who asks prints the answers, in the order in
// which they come.
#include "client/client.h"
#include "client/consumer.h"
#include "client/producer.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace client = gantry::client;

namespace {

using Reply = gantry::Result<client::MessageView>;

int fail(const gantry::Error& error) {
    std::fprintf(stderr, "%s\n", to_string(error).c_str());
    return 1;
}

int serve(const std::shared_ptr<client::Client>& client,
          const std::string& topic,
          std::chrono::seconds time) {
    auto producer = client::Producer::create(client, {});
    client::PushConsumer::Options options;
    options.group = "square-servers";
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    auto consumer = client::PushConsumer::create(client, options);
    if (!producer || !consumer) {
        return fail(producer ? consumer.error() : producer.error());
    }
    if (const auto subscribed = (*consumer)->subscribe(topic); !subscribed) {
        return fail(subscribed.error());
    }
    const auto started = (*consumer)->start([&](std::span<const client::MessageView> messages) {
        for (const client::MessageView& request : messages) {
            const long long number = std::atoll(std::string(request.body()).c_str());
            client::Message answer;
            answer.body = std::to_string(number * number);
            if (const auto replied = (*producer)->reply(request, std::move(answer)); !replied) {
                // Nobody waits any more: there is no use in trying again.
                std::fprintf(stderr, "%s\n", to_string(replied.error()).c_str());
            }
        }
        return client::ConsumeResult::kSuccess;
    });
    if (!started) {
        return fail(started.error());
    }
    std::printf("serving\n");
    std::fflush(stdout);
    std::this_thread::sleep_for(time);
    (*consumer)->stop();
    return 0;
}

int ask(const std::shared_ptr<client::Client>& client,
        const std::string& topic,
        const std::vector<std::string>& numbers) {
    auto producer = client::Producer::create(client, {});
    if (!producer) {
        return fail(producer.error());
    }
    int failed = 0;
    std::vector<std::promise<void>> done(numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        client::Message question;
        question.topic = topic;
        question.body = numbers[i];
        const auto accepted = (*producer)->request_async(
            std::move(question), std::chrono::seconds(20), [&, i](Reply reply) {
                failed += reply ? 0 : 1;
                const std::string text =
                    reply ? std::string(reply->body()) : to_string(reply.error());
                std::printf("%s: %s\n", numbers[i].c_str(), text.c_str());
                done[i].set_value();
            });
        if (!accepted) {
            return fail(accepted.error());
        }
    }
    for (std::promise<void>& each : done) {
        each.get_future().wait();
    }
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 3 ? argv[3] : "";
    if ((what != "serve" && what != "ask") || argc < 5) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC serve SECONDS | ask NUMBER...\n", argv[0]);
        return 2;
    }
    client::Client::Options where;
    where.nameservers = {argv[1]};
    auto client = client::Client::start(where);
    if (!client) {
        return fail(client.error());
    }
    return what == "serve" ? serve(*client, argv[2], std::chrono::seconds(std::atoi(argv[4])))
                           : ask(*client, argv[2], {argv + 4, argv + argc});
}
