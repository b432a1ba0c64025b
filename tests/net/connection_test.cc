// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/connection.h"

#include "protocol/net/server.h"
#include "tests/net/frames.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <future>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;
using namespace std::chrono_literals;

namespace {

/// A server with an echo handler on a loop of its own.
struct EchoServer {
    explicit EchoServer(const ConnectionLimits& limits = {},
                        std::function<void(const Received&)> answer = {}) {
        handler.answer_with = std::move(answer);
        Server::Options options;
        options.address = "127.0.0.1";
        options.connection = limits;
        auto listened = Server::listen(options, {&*loop}, handler);
        REQUIRE(listened);
        server = std::move(listened).value();
    }

    RawPeer dial() const { return RawPeer(server->port()); }

    LoopThread loop;
    EchoHandler handler;
    std::unique_ptr<Server> server;
};

std::string bytes_of(std::initializer_list<int> values) {
    std::string bytes;
    for (const int value : values) {
        bytes.push_back(static_cast<char>(value));
    }
    return bytes;
}

}  // namespace

TEST_SUITE("net/connection") {
    TEST_CASE("pipelined requests are all answered, in order, in their own codec") {
        EchoServer echo;
        RawPeer peer = echo.dial();
        constexpr wire::Codec kCodecs[] = {
            wire::Codec::kNative, wire::Codec::kJson, wire::Codec::kBinary};
        std::string frames;
        for (int i = 0; i < 3'000; ++i) {
            frames += request_frame(i, "body " + std::to_string(i), kCodecs[i % 3]);
        }
        std::thread sender([&] { peer.send(frames); });
        for (int i = 0; i < 3'000; ++i) {
            const Reply reply = read_reply(peer);
            REQUIRE(reply.is_whole);
            REQUIRE(reply.is_response);
            REQUIRE(reply.opaque == i);
            REQUIRE(reply.codec == kCodecs[i % 3]);
            REQUIRE(reply.body == "body " + std::to_string(i));
        }
        sender.join();
    }

    TEST_CASE("frames that come byte by byte are put together") {
        EchoServer echo;
        RawPeer peer = echo.dial();
        for (int i = 0; i < 3; ++i) {
            for (const char byte : request_frame(i, "slow", wire::Codec::kJson)) {
                REQUIRE(peer.send({&byte, 1}));
            }
            CHECK(read_reply(peer).body == "slow");
        }
    }

    TEST_CASE("random sizes around and above the receive buffer arrive whole") {
        Random random(test_seed());
        ConnectionLimits limits;
        limits.receive_bytes = 4'096;
        EchoServer echo(limits);
        RawPeer peer = echo.dial();
        std::vector<std::string> bodies;
        std::string frames;
        for (int i = 0; i < 200; ++i) {
            const std::size_t most = random.below(10) == 0 ? 100'000 : 5'000;
            bodies.emplace_back(random.below(most), static_cast<char>('a' + i % 26));
            frames += request_frame(i, bodies.back());
        }
        std::thread sender([&] { peer.send(frames); });
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            const Reply reply = read_reply(peer);
            REQUIRE(reply.opaque == static_cast<int>(i));
            REQUIRE(reply.body == bodies[i]);
        }
        sender.join();
    }

    TEST_CASE("a pinned body stays as it is while more data arrives") {
        ConnectionLimits limits;
        limits.receive_bytes = 4'096;

        struct Kept {
            Bytes body;
            std::shared_ptr<const void> pin;
        };

        std::vector<Kept> kept;
        EchoServer echo(limits, [&](const Received& frame) {
            kept.push_back({frame.body, frame.pin()});
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        });
        RawPeer peer = echo.dial();
        std::string frames;
        for (int i = 0; i < 300; ++i) {
            frames += request_frame(
                i, std::string(static_cast<std::size_t>(1 + i * 7), static_cast<char>(i)));
        }
        REQUIRE(peer.send(frames));
        for (int i = 0; i < 300; ++i) {
            REQUIRE(read_reply(peer).opaque == i);
        }
        echo.loop.run([&] {
            REQUIRE(kept.size() == 300);
            for (std::size_t i = 0; i < kept.size(); ++i) {
                REQUIRE(as_text(kept[i].body) == std::string(1 + i * 7, static_cast<char>(i)));
            }
        });
        // Pins may be let go in any thread, at any time.
        kept.clear();
        REQUIRE(peer.send(request_frame(1, "again")));
        CHECK(read_reply(peer).is_whole);
    }

    TEST_CASE("a malformed header is answered in its codec, logged, and closes that connection") {
        for (const wire::Codec codec : {wire::Codec::kNative, wire::Codec::kJson}) {
            EchoServer echo;
            RawPeer bystander = echo.dial();
            RawPeer peer = echo.dial();
            std::string frame = request_frame(77, "", codec);
            if (codec == wire::Codec::kJson) {
                const std::size_t code = frame.find("\"code\":");
                REQUIRE(code != std::string::npos);
                frame.replace(code, 7, "\"code\"x");
            } else {
                // A field of bytes that claims to be longer than the header.
                const std::string wrong = bytes_of({0x15, 77, 0, 0, 0, 0x32, 0x7F});
                frame = bytes_of({0, 0, 0, static_cast<int>(4 + wrong.size())}) +
                        bytes_of({2, 0, 0, static_cast<int>(wrong.size())}) + wrong;
            }
            // More bytes behind it must not reset the connection before the reply is read.
            REQUIRE(peer.send(request_frame(1, "fine") + frame + std::string(100'000, 'z')));
            CHECK(read_reply(peer).body == "fine");
            const Reply reply = read_reply(peer);
            REQUIRE(reply.is_whole);
            CHECK(reply.is_response);
            CHECK(reply.opaque == 77);
            CHECK(reply.codec == codec);
            CHECK(reply.code == (codec == wire::Codec::kNative ? 10'000 : 1));
            CHECK_FALSE(reply.remark.empty());
            CHECK(peer.receive_all().empty());
            peer.close();
            CHECK(wait_until([&] { return echo.handler.closed == 1; }));
            CHECK(echo.handler.last_reason().code == Errc::kCorrupt);
            REQUIRE(bystander.send(request_frame(5, "unharmed")));
            CHECK(read_reply(bystander).body == "unharmed");
        }
    }

    TEST_CASE("frames beyond the limits and garbage close only their connection") {
        ConnectionLimits limits;
        limits.frame.frame_bytes_max = 10'000;
        limits.frame.header_bytes_max = 1'000;
        EchoServer echo(limits);
        RawPeer bystander = echo.dial();
        const std::vector<std::string> bad = {
            request_frame(1, std::string(10'000, 'x')),                   // frame too long
            bytes_of({0, 0, 0x20, 0, 2, 0, 0x10, 0}),                     // header too long
            bytes_of({0, 0, 0, 100, 9, 0, 0, 4}) + std::string(96, 'x'),  // codec
            bytes_of({0, 0, 0, 3, 0, 0, 0, 0}),                           // too short a length
            bytes_of({0xFF, 0xFF, 0xFF, 0xFF}),                           // negative length
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        int closed = 0;
        for (const std::string& bytes : bad) {
            RawPeer peer = echo.dial();
            REQUIRE(peer.send(bytes));
            CHECK(peer.receive_all().empty());
            ++closed;
            CHECK(wait_until([&] { return echo.handler.closed == closed; }));
            CHECK(echo.handler.last_reason().code == Errc::kCorrupt);
            REQUIRE(bystander.send(request_frame(5, "unharmed")));
            CHECK(read_reply(bystander).body == "unharmed");
        }
    }

    TEST_CASE("random bytes never harm another connection") {
        Random random(test_seed());
        EchoServer echo;
        RawPeer bystander = echo.dial();
        for (int round = 0; round < 100; ++round) {
            RawPeer peer = echo.dial();
            std::string bytes = request_frame(round, "body", wire::Codec::kBinary);
            for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
                bytes[random.below(bytes.size())] = static_cast<char>(random.next());
            }
            REQUIRE(peer.send(bytes + request_frame(1, "next")));
            ::shutdown(peer.fd(), SHUT_WR);
            peer.receive_all();
            REQUIRE(bystander.send(request_frame(5, "unharmed")));
            REQUIRE(read_reply(bystander).body == "unharmed");
        }
        CHECK(wait_until([&] { return echo.handler.closed == 100; }));
    }

    TEST_CASE("a peer that does not read is not read from, and goes on when it reads") {
        ConnectionLimits limits;
        limits.output_bytes_max = 1U << 20U;
        const std::string body(10'000, 'r');
        std::atomic<std::uint64_t> most = 0;
        EchoServer echo(limits, [&](const Received& frame) {
            frame.connection.reply(
                reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, body);
            most = std::max(most.load(), frame.connection.output_bytes());
        });
        RawPeer bystander = echo.dial();
        RawPeer peer = echo.dial();
        constexpr int kRequests = 5'000;
        std::thread sender([&] {
            std::string frames;
            for (int i = 0; i < kRequests; ++i) {
                frames += request_frame(i, "");
            }
            peer.send(frames);
        });
        // It stops well before all are answered.
        int frames = -1;
        REQUIRE(wait_until([&] {
            const int now = echo.handler.frames;
            std::this_thread::sleep_for(50ms);  // sleeps: nothing tells that it has stopped
            return std::exchange(frames, now) == now && now > 0;
        }));
        CHECK(frames < kRequests);
        REQUIRE(bystander.send(request_frame(5, "")));
        CHECK(read_reply(bystander).is_whole);
        for (int i = 0; i < kRequests; ++i) {
            const Reply reply = read_reply(peer);
            REQUIRE(reply.opaque == i);
            REQUIRE(reply.body.size() == body.size());
        }
        sender.join();
        CHECK(most <= limits.output_bytes_max + 2 * body.size());
    }

    TEST_CASE("replies of files, references and owned bytes keep their order") {
        std::FILE* const file = std::tmpfile();
        REQUIRE(file != nullptr);
        const std::string content(300'000, 'f');
        REQUIRE(std::fwrite(content.data(), 1, content.size(), file) == content.size());
        std::fflush(file);
        const std::string memory(50'000, 'm');
        EchoServer echo({}, [&](const Received& frame) {
            Connection& connection = frame.connection;
            const ReplyTo to = reply_to(frame);
            const auto success = wire::ResponseCode::kSuccess;
            if (to.opaque % 3 == 0) {
                connection.begin_reply(to, success, "", nullptr, content.size());
                connection.output().append_file(
                    {.fd = ::fileno(file), .offset = 0, .length = content.size()});
            } else if (to.opaque % 3 == 1) {
                connection.begin_reply(to, success, "", nullptr, memory.size());
                connection.output().append_reference(as_bytes(memory), nullptr);
            } else {
                connection.reply(to, success, "", nullptr, "small");
            }
        });
        RawPeer peer = echo.dial();
        std::string frames;
        for (int i = 0; i < 300; ++i) {
            frames += request_frame(i, "");
        }
        REQUIRE(peer.send(frames));
        for (int i = 0; i < 300; ++i) {
            const Reply reply = read_reply(peer);
            REQUIRE(reply.opaque == i);
            REQUIRE(reply.body == (i % 3 == 0 ? content : i % 3 == 1 ? memory : "small"));
        }
        std::fclose(file);
    }

    TEST_CASE("a handler may close its connection, with or without what is queued") {
        for (const bool flush : {true, false}) {
            EchoServer echo({}, [&](const Received& frame) {
                frame.connection.reply(
                    reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, "last");
                frame.connection.close({Errc::kDenied, "go away"}, flush);
            });
            RawPeer peer = echo.dial();
            REQUIRE(peer.send(request_frame(1, "") + request_frame(2, "")));
            const Reply reply = read_reply(peer);
            CHECK(reply.is_whole == flush);
            CHECK(peer.receive_all().empty());
            CHECK(wait_until([&] { return echo.handler.closed == 1; }));
            CHECK(echo.handler.frames == 1);
            CHECK(echo.handler.last_reason().code == Errc::kDenied);
        }
    }

    TEST_CASE("a connection that is held reads nothing until it is let go") {
        std::atomic<int> handled{0};
        std::atomic<Connection*> held{nullptr};
        EchoServer echo({}, [&](const Received& frame) {
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
            if (++handled == 3) {
                frame.connection.hold_reading(true);
                held = &frame.connection;
            }
        });
        RawPeer peer = echo.dial();
        std::string frames;
        for (int i = 0; i < 10; ++i) {
            frames += request_frame(i, "body");
        }
        REQUIRE(peer.send(frames));
        for (int i = 0; i < 3; ++i) {
            REQUIRE(read_reply(peer).opaque == i);
        }
        REQUIRE(peer.send(request_frame(10, "one more")));
        echo.loop.run([&] { CHECK(handled == 3); });
        const std::uint64_t read = echo.loop.run([&] {
            const std::uint64_t before = held.load()->read_bytes();
            held.load()->hold_reading(false);
            return before;
        });
        for (int i = 3; i < 11; ++i) {
            REQUIRE(read_reply(peer).opaque == i);
        }
        CHECK(echo.loop.run([&] { return held.load()->read_bytes(); }) > read);
    }

    TEST_CASE("a request and a one-way request are encoded as a channel does") {
        EchoServer echo({}, [&](const Received& frame) {
            frame.connection.send_request(17, wire::RequestCode::kHeartBeat, nullptr);
            frame.connection.begin_oneway(
                wire::Codec::kNative, wire::RequestCode::kHeartBeat, nullptr, 4);
            frame.connection.output().append_copy(as_bytes("body"));
        });
        RawPeer peer = echo.dial();
        REQUIRE(peer.send(request_frame(1, "")));
        const Reply request = read_reply(peer);
        CHECK_FALSE(request.is_response);
        CHECK(request.opaque == 17);
        CHECK(request.body.empty());
        const Reply oneway = read_reply(peer);
        CHECK_FALSE(oneway.is_response);
        CHECK(oneway.body == "body");
    }

    TEST_CASE("a peer that half-closes still gets what it asked for") {
        EchoServer echo;
        RawPeer peer = echo.dial();
        REQUIRE(peer.send(request_frame(1, "one") + request_frame(2, "two")));
        ::shutdown(peer.fd(), SHUT_WR);
        CHECK(read_reply(peer).body == "one");
        CHECK(read_reply(peer).body == "two");
        CHECK(peer.receive_all().empty());
    }

    TEST_CASE("the context lives as long as its connection") {
        const auto token = std::make_shared<int>(42);
        std::atomic<int> seen = 0;
        EchoServer echo({}, [&](const Received& frame) {
            if (frame.connection.context<int>() == nullptr) {
                frame.connection.set_context(token);
            }
            seen = *frame.connection.context<int>();
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        });
        {
            RawPeer peer = echo.dial();
            REQUIRE(peer.send(request_frame(1, "")));
            CHECK(read_reply(peer).is_whole);
            CHECK(seen == 42);
        }
        CHECK(wait_until([&] { return echo.loop.run([&] { return token.use_count() == 1; }); }));
    }

    TEST_CASE("of many requests in one read the first answers leave before the last is handled") {
        constexpr int kRequests = 64;
        std::promise<void> first_read;
        std::future<void> is_first_read = first_read.get_future();
        std::atomic<bool> was_in_time = false;
        EchoServer echo({}, [&](const Received& frame) {
            if (frame.header.opaque == kRequests - 1) {
                was_in_time = is_first_read.wait_for(10s) == std::future_status::ready;
            }
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        });
        RawPeer peer = echo.dial();
        std::string frames;
        for (int i = 0; i < kRequests; ++i) {
            frames += request_frame(i, "");
        }
        REQUIRE(peer.send(frames));
        REQUIRE(read_reply(peer).opaque == 0);
        first_read.set_value();
        for (int i = 1; i < kRequests; ++i) {
            REQUIRE(read_reply(peer).opaque == i);
        }
        CHECK(was_in_time);
    }

    TEST_CASE("a peer that is gone before the first answers leave costs its connection alone") {
        std::promise<void> is_gone;
        std::shared_future<void> gone = is_gone.get_future().share();
        EchoServer echo({}, [gone](const Received& frame) {
            if (frame.header.opaque == 0) {
                gone.wait_for(10s);
            }
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "");
        });
        std::string frames;
        for (int i = 0; i < 200; ++i) {
            frames += request_frame(i, "");
        }
        {
            RawPeer peer = echo.dial();
            const linger reset_at_once{.l_onoff = 1, .l_linger = 0};
            ::setsockopt(peer.fd(), SOL_SOCKET, SO_LINGER, &reset_at_once, sizeof reset_at_once);
            REQUIRE(peer.send(frames));
            REQUIRE(wait_until([&] { return echo.handler.frames > 0; }));
            peer.close();
        }
        is_gone.set_value();
        CHECK(wait_until([&] { return echo.handler.closed == 1; }));
        RawPeer next = echo.dial();
        REQUIRE(next.send(request_frame(1, "")));
        CHECK(read_reply(next).is_whole);
        CHECK(echo.handler.closed == 1);
    }
}
