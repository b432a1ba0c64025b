// SPDX-License-Identifier: Apache-2.0
// Payments that fail, come again, die, and are redriven.
//
//   example_retry NAMESERVER TOPIC LEDGER COUNT SECONDS [down]
//
// A member of the group "billing" books each message of TOPIC in the file LEDGER, once: a message
// may come twice, so it looks before it books. Ends when COUNT are booked, or after SECONDS. With
// "down" the bank does not answer, and every message is sent back: it comes again after the
// group's backoff, and becomes a dead letter when it was sent back too often.
#include "client/client.h"
#include "client/consumer.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace client = gantry::client;

namespace {

/// What is booked, one message id and body a line.
class Ledger {
public:
    explicit Ledger(std::string file) : file_(std::move(file)) {
        std::ifstream lines(file_);
        for (std::string id, body; lines >> id && std::getline(lines, body);) {
            booked_.insert(id);
        }
    }

    void book(const client::MessageView& message) {
        const std::string id = first_id(message);
        if (booked_.insert(id).second) {
            std::ofstream(file_, std::ios::app) << id << ' ' << message.body() << '\n'
                                                << std::flush;
        }
    }

    std::size_t size() const { return booked_.size(); }

private:
    /// The id it had when it was first sent: its sender's, which a copy keeps, or the broker's,
    /// which a copy tells of.
    static std::string first_id(const client::MessageView& message) {
        const std::string_view origin = message.property("ORIGIN_MESSAGE_ID");
        const bool has_own = !message.property("UNIQ_KEY").empty();
        return has_own || origin.empty() ? message.message_id() : std::string(origin);
    }

    std::string file_;
    std::set<std::string> booked_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 6) {
        std::fprintf(stderr, "usage: %s NAMESERVER TOPIC LEDGER COUNT SECONDS [down]\n", argv[0]);
        return 2;
    }
    const auto count = static_cast<std::size_t>(std::atoi(argv[4]));
    const bool is_down = argc > 6;
    client::Client::Options client_options;
    client_options.nameservers = {argv[1]};
    auto client = client::Client::start(client_options);
    if (!client) {
        std::fprintf(stderr, "%s\n", to_string(client.error()).c_str());
        return 1;
    }
    client::PushConsumer::Options options;
    options.group = "billing";
    options.start_from.kind = client::StartFrom::Kind::kFirst;
    auto consumer = client::PushConsumer::create(*client, options);
    if (!consumer) {
        std::fprintf(stderr, "%s\n", to_string(consumer.error()).c_str());
        return 1;
    }
    Ledger ledger(argv[3]);  // used by the one thread that listens
    std::atomic<std::size_t> booked{ledger.size()};
    const auto listen = [&](std::span<const client::MessageView> messages) {
        for (const client::MessageView& message : messages) {
            if (is_down) {
                return client::ConsumeResult::kLater;
            }
            ledger.book(message);
        }
        booked = ledger.size();
        return client::ConsumeResult::kSuccess;
    };
    gantry::Status status = (*consumer)->subscribe(argv[2]);
    if (status) {
        status = (*consumer)->start(listen);
    }
    if (!status) {
        std::fprintf(stderr, "%s\n", to_string(status.error()).c_str());
        return 1;
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[5]));
    while (booked < count && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    (*consumer)->stop();
    std::printf("%zu booked\n", booked.load());
    return is_down || booked >= count ? 0 : 1;
}
