// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/channel.h"

#include "protocol/net/server.h"
#include "tests/net/frames.h"

#include <algorithm>
#include <map>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;
using namespace std::chrono_literals;

namespace {

/// What a call ended with, copied out of the loop.
struct Outcome {
    bool is_ok = false;
    Error error{};
    std::int32_t code = 0;
    std::string body{};
};

Outcome outcome_of(const Result<Received>& result) {
    if (!result) {
        return {.is_ok = false, .error = result.error()};
    }
    return {.is_ok = true, .code = result->header.code, .body = std::string(as_text(result->body))};
}

/// A channel on a loop of its own, driven from the test's thread.
class Caller {
public:
    explicit Caller(Channel::Options options) {
        loop_.run([&] { channel_ = std::make_unique<Channel>(*loop_, std::move(options)); });
    }

    ~Caller() { destroy(); }

    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

    std::future<Outcome> start(std::string body, std::chrono::milliseconds timeout = 10s) {
        std::promise<Outcome> promise;
        std::future<Outcome> future = promise.get_future();
        loop_.run([&] {
            is_in_call_ = true;
            channel_->call({.code = kEcho, .body = std::move(body)},
                           timeout,
                           [this, kept = std::move(promise)](Result<Received>& result) mutable {
                               CHECK_FALSE(is_in_call_);
                               kept.set_value(outcome_of(result));
                           });
            is_in_call_ = false;
        });
        return future;
    }

    Outcome call(std::string body, std::chrono::milliseconds timeout = 10s) {
        return start(std::move(body), timeout).get();
    }

    template <class Work>
    auto run(Work work) {
        return loop_.run([&] { return work(*channel_); });
    }

    LoopThread& loop() { return loop_; }

    void destroy() {
        loop_.run([&] { channel_.reset(); });
    }

private:
    LoopThread loop_;
    std::unique_ptr<Channel> channel_;
    bool is_in_call_ = false;
};

/// An echo server that can go away and come back on the same port.
class Peer {
public:
    Peer() { start(0); }

    void start(std::uint16_t port) {
        Server::Options options;
        options.address = "127.0.0.1";
        options.port = port;
        options.connection = limits;
        auto listened = Server::listen(options, {&*loop}, handler);
        REQUIRE(listened);
        server = std::move(listened).value();
        port_ = server->port();
    }

    void stop() { server.reset(); }

    void restart() { start(port_); }

    Channel::Options options() const {
        Channel::Options wanted;
        wanted.address = "127.0.0.1:" + std::to_string(port_);
        wanted.backoff_min = 5ms;
        wanted.backoff_max = 20ms;
        return wanted;
    }

    LoopThread loop;
    EchoHandler handler;
    ConnectionLimits limits;
    std::unique_ptr<Server> server;

private:
    std::uint16_t port_ = 0;
};

/// A listening socket nobody accepts from, or a port nobody listens on.
std::uint16_t port_of(const UniqueFd& socket) {
    return static_cast<std::uint16_t>(host_of(local_address(socket.get())).port);
}

}  // namespace

TEST_SUITE("net/channel") {
    TEST_CASE("the first call dials, requests of any size and codec are answered") {
        Peer peer;
        for (const wire::Codec codec :
             {wire::Codec::kNative, wire::Codec::kJson, wire::Codec::kBinary}) {
            Channel::Options options = peer.options();
            options.codec = codec;
            Caller caller(options);
            CHECK_FALSE(caller.run([](Channel& channel) { return channel.is_up(); }));
            for (const std::size_t size : {0U, 10U, 5'000U, 20'000U, 3'000'000U}) {
                const Outcome outcome = caller.call(std::string(size, 'q'));
                REQUIRE(outcome.is_ok);
                CHECK(outcome.body == std::string(size, 'q'));
            }
            CHECK(caller.run([](Channel& channel) { return channel.is_up(); }));
            CHECK(caller.run([](Channel& channel) { return channel.local_host().port; }) > 0);
            CHECK(caller.run([](Channel& channel) { return channel.in_flight(); }) == 0);
        }
    }

    TEST_CASE("a name is resolved") {
        Peer peer;
        Channel::Options options = peer.options();
        options.address = "localhost:" + std::to_string(peer.server->port());
        Caller caller(options);
        CHECK(caller.call("by name").body == "by name");
    }

    TEST_CASE("answers in any order find their requests") {
        Random random(test_seed());
        Peer peer;
        std::vector<std::pair<ReplyTo, std::string>> parked;
        peer.handler.answer_with = [&](const Received& frame) {
            parked.emplace_back(reply_to(frame), as_text(frame.body));
            if (parked.size() < 500) {
                return;
            }
            for (std::size_t i = parked.size(); i > 1; --i) {
                std::swap(parked[i - 1], parked[random.below(i)]);
            }
            for (const auto& [to, body] : parked) {
                frame.connection.reply(to, wire::ResponseCode::kSuccess, "", nullptr, body);
            }
            parked.clear();
        };
        Caller caller(peer.options());
        for (int round = 0; round < 5; ++round) {
            std::vector<std::future<Outcome>> calls;
            for (int i = 0; i < 500; ++i) {
                calls.push_back(caller.start(std::to_string(i)));
            }
            for (std::size_t i = 0; i < calls.size(); ++i) {
                REQUIRE(calls[i].get().body == std::to_string(i));
            }
        }
    }

    TEST_CASE("an error code of the peer is an answer, not a failure of the call") {
        Peer peer;
        peer.handler.answer_with = [](const Received& frame) {
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kTopicNotExist, "no topic");
        };
        Caller caller(peer.options());
        const Outcome outcome = caller.call("");
        REQUIRE(outcome.is_ok);
        CHECK(outcome.code == static_cast<int>(wire::ResponseCode::kTopicNotExist));
    }

    TEST_CASE("no answer by the deadline is kTimeout, and a late one is dropped") {
        Peer peer;
        std::vector<ReplyTo> parked;
        peer.handler.answer_with = [&](const Received& frame) {
            if (as_text(frame.body) == "park") {
                parked.push_back(reply_to(frame));
                return;
            }
            for (const ReplyTo& to : std::exchange(parked, {})) {
                frame.connection.reply(to, wire::ResponseCode::kSuccess, "", nullptr, "late");
            }
            frame.connection.reply(
                reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, "now");
        };
        Caller caller(peer.options());
        CHECK(caller.call("first").body == "now");
        const auto start = std::chrono::steady_clock::now();
        std::future<Outcome> patient = caller.start("park", 10s);
        const Outcome outcome = caller.call("park", 50ms);
        CHECK(std::chrono::steady_clock::now() - start >= 50ms);
        REQUIRE_FALSE(outcome.is_ok);
        CHECK(outcome.error.code == Errc::kTimeout);
        CHECK(caller.call("again").body == "now");
        CHECK(patient.get().body == "late");
        CHECK(caller.run([](Channel& channel) { return channel.in_flight(); }) == 0);
    }

    TEST_CASE("with nobody listening a call is kGone at its deadline, or at once if told to") {
        std::uint16_t port = 0;
        {
            const Result<UniqueFd> free_port = listen_tcp("127.0.0.1", 0);
            REQUIRE(free_port);
            port = port_of(*free_port);
        }
        Channel::Options options;
        options.address = "127.0.0.1:" + std::to_string(port);
        options.backoff_min = 5ms;
        const auto start = std::chrono::steady_clock::now();
        {
            Caller caller(options);
            const Outcome outcome = caller.call("", 60ms);
            CHECK(outcome.error.code == Errc::kGone);
            CHECK(outcome.error.detail.find(options.address) != std::string::npos);
            CHECK(outcome.error.detail.find("refused") != std::string::npos);
            CHECK(std::chrono::steady_clock::now() - start >= 60ms);
        }
        options.fail_fast = true;
        options.backoff_min = 1h;
        options.backoff_max = 1h;
        Caller hasty(options);
        CHECK(hasty.call("", 1h).error.code == Errc::kGone);
        CHECK(hasty.call("", 1h).error.code == Errc::kGone);
    }

    TEST_CASE("an address that is none is kGone and says so") {
        Channel::Options options;
        options.address = "no port here";
        options.fail_fast = true;
        Caller caller(options);
        const Outcome outcome = caller.call("");
        CHECK(outcome.error.code == Errc::kGone);
        CHECK(outcome.error.detail.find("no port here") != std::string::npos);
    }

    TEST_CASE("a lost link makes what has left kUnknown, and the channel comes back by itself") {
        Peer peer;
        std::atomic<bool> must_answer = true;
        peer.handler.answer_with = [&](const Received& frame) {
            if (must_answer) {
                frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
            }
        };
        std::mutex mutex;
        std::vector<bool> states;
        Caller caller(peer.options());
        caller.run([&](Channel& channel) {
            channel.on_state([&](bool up) {
                const std::lock_guard lock(mutex);
                states.push_back(up);
            });
        });
        CHECK(caller.call("").is_ok);
        must_answer = false;
        std::future<Outcome> lost = caller.start("never answered");
        REQUIRE(wait_until([&] { return peer.handler.frames == 2; }));
        peer.stop();
        CHECK(lost.get().error.code == Errc::kUnknown);
        must_answer = true;
        // Called while nobody listens: waits for the link.
        std::future<Outcome> waiting = caller.start("waits");
        peer.restart();
        CHECK(waiting.get().is_ok);
        const std::lock_guard lock(mutex);
        CHECK(states == std::vector<bool>{true, false, true});
    }

    TEST_CASE("a peer that is given up fails what was sent, and the next call dials anew") {
        Peer peer;
        std::atomic<bool> must_answer = false;
        peer.handler.answer_with = [&](const Received& frame) {
            if (must_answer) {
                frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
            }
        };
        Caller caller(peer.options());
        std::future<Outcome> sent = caller.start("never answered", 1h);
        REQUIRE(wait_until([&] { return peer.handler.frames == 1; }));
        caller.run([](Channel& channel) { channel.abandon(); });
        CHECK(sent.get().error.code == Errc::kUnknown);
        CHECK(!caller.run([](Channel& channel) { return channel.is_up(); }));
        must_answer = true;
        CHECK(caller.call("").is_ok);
    }

    TEST_CASE("what waits for a link to a peer that is given up has not left") {
        std::uint16_t port = 0;
        {
            const Result<UniqueFd> free_port = listen_tcp("127.0.0.1", 0);
            REQUIRE(free_port);
            port = port_of(*free_port);
        }
        Channel::Options options;
        options.address = "127.0.0.1:" + std::to_string(port);
        Caller caller(options);
        std::future<Outcome> waiting = caller.start("", 1h);
        CHECK(waiting.wait_for(20ms) == std::future_status::timeout);
        caller.run([](Channel& channel) { channel.abandon(); });
        CHECK(waiting.get().error.code == Errc::kGone);
    }

    TEST_CASE("what has not left when the link goes is kGone") {
        const Result<UniqueFd> listener = listen_tcp("127.0.0.1", 0);
        REQUIRE(listener);
        Channel::Options options;
        options.address = "127.0.0.1:" + std::to_string(port_of(*listener));
        options.backoff_min = 1h;
        options.backoff_max = 1h;
        options.connection.output_bytes_max = std::uint64_t{256} << 20U;
        Caller caller(options);
        // More than the socket's buffers take, then one behind it that stays here.
        std::future<Outcome> big = caller.start(std::string(64U << 20U, 'b'));
        REQUIRE(wait_until([&] { return caller.run([](Channel& c) { return c.is_up(); }); }));
        std::future<Outcome> behind = caller.start("behind");
        UniqueFd accepted;
        REQUIRE(wait_until([&] {
            accepted.reset(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
            return static_cast<bool>(accepted);
        }));
        RawPeer reader(std::move(accepted));
        CHECK(reader.receive(1'000).size() == 1'000);
        reader.close();
        CHECK(big.get().error.code == Errc::kUnknown);
        CHECK(behind.get().error.code == Errc::kGone);
    }

    TEST_CASE("in_flight_max and output_bytes_max refuse with kBusy and their names") {
        Peer peer;
        peer.handler.answer_with = [](const Received& /*never answered*/) {};
        Channel::Options options = peer.options();
        options.in_flight_max = 2;
        options.connection.output_bytes_max = 1'000;
        Caller caller(options);
        CHECK(caller.call(std::string(2'000, 'x')).error.detail.find("output_bytes_max 1000") !=
              std::string::npos);
        std::future<Outcome> first = caller.start("1");
        std::future<Outcome> second = caller.start("2");
        const Outcome third = caller.call("3");
        CHECK(third.error.code == Errc::kBusy);
        CHECK(third.error.detail.find("in_flight_max 2") != std::string::npos);
        caller.run([](Channel& channel) { channel.close(); });
        CHECK(first.get().error.code == Errc::kClosed);
        CHECK(second.get().error.code == Errc::kClosed);
        CHECK(caller.call("4").error.code == Errc::kClosed);
        const Errc refused = caller.run([](Channel& channel) {
            return channel.send_oneway({.code = kEcho, .body = "5"}).error().code;
        });
        CHECK(refused == Errc::kClosed);
    }

    TEST_CASE("destroying a channel ends its calls, also from inside an answer") {
        Peer peer;
        peer.handler.answer_with = [](const Received& frame) {
            if (as_text(frame.body) == "answer") {
                frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
            }
        };
        LoopThread loop;
        std::unique_ptr<Channel> channel;
        std::promise<Errc> unanswered;
        loop.run([&] {
            channel = std::make_unique<Channel>(*loop, peer.options());
            channel->call({.code = kEcho, .body = "park"}, 10s, [&](Result<Received>& result) {
                unanswered.set_value(result.error().code);
            });
            channel->call({.code = kEcho, .body = "answer"}, 10s, [&](Result<Received>& result) {
                CHECK(result);
                channel.reset();
            });
        });
        CHECK(unanswered.get_future().get() == Errc::kClosed);
        CHECK(wait_until([&] { return peer.handler.closed == 1; }));
    }

    TEST_CASE("one-way requests arrive, before and after the link is up") {
        Peer peer;
        std::atomic<int> oneways = 0;
        peer.handler.answer_with = [&](const Received& frame) {
            oneways += frame.header.is_oneway ? 1 : 0;
            // Dropped: nobody waits for it.
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        };
        Caller caller(peer.options());
        const auto send = [](Channel& channel) {
            return static_cast<bool>(channel.send_oneway({.code = kEcho, .body = "fire"}));
        };
        CHECK(caller.run(send));
        REQUIRE(wait_until([&] { return oneways == 1; }));
        CHECK(caller.run(send));
        CHECK(wait_until([&] { return oneways == 2; }));
        CHECK(caller.call("").is_ok);
        CHECK(oneways == 2);
    }

    TEST_CASE("what was sent just before close still arrives") {
        Peer peer;
        Caller caller(peer.options());
        CHECK(caller.call("").is_ok);
        const int before = peer.handler.frames;
        caller.run([](Channel& channel) {
            const Status sent = channel.send_oneway({.code = kEcho, .body = "bye"});
            CHECK(sent);
            channel.close();
        });
        CHECK(wait_until([&] { return peer.handler.frames == before + 1; }));
    }

    TEST_CASE("requests of the peer reach the handler, and it can answer") {
        Peer peer;
        std::promise<std::string> answered;
        peer.handler.answer_with = [&](const Received& frame) {
            if (frame.header.is_response) {
                answered.set_value(std::string(frame.header.remark));
                return;
            }
            frame.connection.output().append_owned(request_frame(4'711, "from the server"));
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        };
        Caller caller(peer.options());
        std::string body;
        caller.run([&](Channel& channel) {
            channel.on_request([&](const Received& frame) {
                body = as_text(frame.body);
                CHECK(frame.header.opaque == 4'711);
                channel.reply(reply_to(frame), wire::ResponseCode::kSuccess, "thanks");
            });
        });
        CHECK(caller.call("").is_ok);
        CHECK(answered.get_future().get() == "thanks");
        CHECK(body == "from the server");
    }

    TEST_CASE("an idle link closes and is dialled again when needed, not before") {
        Peer peer;
        Channel::Options options = peer.options();
        options.connection.idle_max = 80ms;
        Caller caller(options);
        CHECK(caller.call("one").body == "one");
        REQUIRE(wait_until([&] { return peer.handler.closed == 1; }));
        std::this_thread::sleep_for(60ms);  // sleeps: nothing tells that no dial comes
        CHECK(peer.handler.opened == 1);
        CHECK(caller.call("two").body == "two");
        CHECK(peer.handler.opened == 2);
    }

    TEST_CASE("a link with a request in flight is not idle") {
        Peer peer;
        peer.handler.answer_with = [](const Received& /*never answered*/) {};
        Channel::Options options = peer.options();
        options.connection.idle_max = 30ms;
        Caller caller(options);
        CHECK(caller.call("long poll", 200ms).error.code == Errc::kTimeout);
    }

    TEST_CASE("channels may die after their loop has stopped") {
        Peer peer;
        peer.handler.answer_with = [](const Received&) {};
        auto loop = EventLoop::create({}).value();
        auto channel = std::make_unique<Channel>(*loop, peer.options());
        int ended = 0;
        for (int i = 0; i < 3; ++i) {
            channel->call({.code = kEcho}, 10s, [&](Result<Received>& result) {
                ended += !result && result.error().code == Errc::kClosed ? 1 : 0;
            });
        }
        loop->start_thread();
        loop->stop();
        loop->join();
        channel.reset();
        CHECK(ended == 3);
    }
}
