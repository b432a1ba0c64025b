// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/server.h"

#include "tests/net/frames.h"

#include <set>
#include <sys/resource.h>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;
using namespace std::chrono_literals;

namespace {

Server::Options on_loopback() {
    Server::Options options;
    options.address = "127.0.0.1";
    return options;
}

std::unique_ptr<Server> listen_on(const Server::Options& options,
                                  LoopThread& loop,
                                  ConnectionHandler& handler) {
    auto listened = Server::listen(options, {&*loop}, handler);
    REQUIRE(listened);
    return std::move(listened).value();
}

/// Lowers the limit on descriptors for a scope.
class FewDescriptors {
public:
    explicit FewDescriptors(rlim_t count) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit few{.rlim_cur = count, .rlim_max = before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &few);
    }

    ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

    FewDescriptors(const FewDescriptors&) = delete;
    FewDescriptors& operator=(const FewDescriptors&) = delete;

private:
    rlimit before_{};
};

}  // namespace

TEST_SUITE("net/server") {
    TEST_CASE("connections spread over the loops, and ids find them on their own loop") {
        LoopThread first;
        LoopThread second;
        EchoHandler handler;
        std::mutex mutex;
        std::set<std::uint64_t> ids;
        std::set<EventLoop*> loops;
        handler.open_with = [&](Connection& connection) {
            const std::lock_guard lock(mutex);
            ids.insert(connection.id().value);
            loops.insert(&connection.loop());
        };
        auto listened = Server::listen(on_loopback(), {&*first, &*second}, handler);
        REQUIRE(listened);
        const std::unique_ptr<Server> server = std::move(listened).value();
        std::vector<RawPeer> peers;
        for (int i = 0; i < 6; ++i) {
            peers.emplace_back(server->port());
            REQUIRE(peers.back().send(request_frame(i, "hello")));
            CHECK(read_reply(peers.back()).body == "hello");
        }
        CHECK(loops.size() == 2);
        CHECK(ids.size() == 6);
        CHECK(server->connection_count() == 6);
        for (const std::uint64_t value : ids) {
            const ConnectionId id(value);
            EventLoop& home = server->loop_of(id);
            std::promise<bool> found;
            REQUIRE(home.post([&] { found.set_value(server->find(id) != nullptr); }));
            CHECK(found.get_future().get());
            CHECK(server->find(id) == nullptr);
        }
        peers.clear();
        CHECK(wait_until([&] { return server->connection_count() == 0; }));
        // A new connection in an old place has a new id.
        RawPeer late(server->port());
        REQUIRE(late.send(request_frame(1, "x")));
        CHECK(read_reply(late).is_whole);
        CHECK(ids.size() == 7);
        server->stop(0ms);
        CHECK(handler.closed == 7);
    }

    TEST_CASE("a port in use is kConflict and names address and port") {
        LoopThread loop;
        EchoHandler handler;
        const std::unique_ptr<Server> server = listen_on(on_loopback(), loop, handler);
        Server::Options same = on_loopback();
        same.port = server->port();
        const auto second = Server::listen(same, {&*loop}, handler);
        REQUIRE_FALSE(second);
        CHECK(second.error().code == Errc::kConflict);
        CHECK(second.error().detail.find("127.0.0.1:" + std::to_string(same.port)) !=
              std::string::npos);
    }

    TEST_CASE("at connections_max accepting waits until one goes") {
        LoopThread loop;
        EchoHandler handler;
        Server::Options options = on_loopback();
        options.connections_max = 2;
        const std::unique_ptr<Server> server = listen_on(options, loop, handler);
        for (int round = 0; round < 20; ++round) {
            RawPeer first(server->port());
            RawPeer second(server->port());
            RawPeer third(server->port());
            REQUIRE(second.send(request_frame(2, "second")));
            CHECK(read_reply(second).body == "second");
            REQUIRE(third.send(request_frame(3, "third")));
            CHECK(server->connection_count() == 2);
            first.close();
            CHECK(read_reply(third).body == "third");
            second.close();
            third.close();
            REQUIRE(wait_until([&] { return server->connection_count() == 0; }));
        }
    }

    TEST_CASE("without descriptors accepting pauses and resumes by itself") {
        LoopThread loop;
        EchoHandler handler;
        const std::unique_ptr<Server> server = listen_on(on_loopback(), loop, handler);
        std::vector<RawPeer> peers;
        peers.emplace_back(server->port());
        REQUIRE(peers.back().send(request_frame(1, "before")));
        CHECK(read_reply(peers.back()).body == "before");
        const SocketAddress address = *numeric_address("127.0.0.1", server->port());
        UniqueFd waiting(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        {
            const FewDescriptors few(static_cast<rlim_t>(waiting.get()) + 1);
            REQUIRE(::connect(waiting.get(), address.get(), address.length) == 0);
            // The others go on meanwhile.
            REQUIRE(peers.back().send(request_frame(2, "meanwhile")));
            CHECK(read_reply(peers.back()).body == "meanwhile");
            std::this_thread::sleep_for(20ms);  // sleeps: nothing tells that it is not accepted
            CHECK(handler.opened == 1);
        }
        RawPeer late(std::move(waiting));
        REQUIRE(late.send(request_frame(3, "after")));
        CHECK(read_reply(late).body == "after");
    }

    TEST_CASE("idle connections are closed, busy ones are not") {
        LoopThread loop;
        EchoHandler handler;
        Server::Options options = on_loopback();
        options.connection.idle_max = 120ms;
        const std::unique_ptr<Server> server = listen_on(options, loop, handler);
        RawPeer idle(server->port());
        RawPeer busy(server->port());
        const auto start = std::chrono::steady_clock::now();
        while (handler.closed == 0 && std::chrono::steady_clock::now() - start < kPatience) {
            REQUIRE(busy.send(request_frame(1, "x")));
            REQUIRE(read_reply(busy).is_whole);
            std::this_thread::sleep_for(5ms);  // sleeps: the pace of the busy peer
        }
        CHECK(std::chrono::steady_clock::now() - start >= 120ms);
        CHECK(idle.receive(1).empty());
        CHECK(handler.closed == 1);
        CHECK(handler.last_reason().detail.find("idle_max 120 ms") != std::string::npos);
    }

    TEST_CASE("stop lets queued output drain, then every connection has had its on_close") {
        LoopThread loop;
        EchoHandler handler;
        const std::string big(8U << 20U, 'b');
        handler.answer_with = [&](const Received& frame) {
            frame.connection.reply(reply_to(frame), wire::ResponseCode::kSuccess, "", nullptr, big);
        };
        const std::unique_ptr<Server> server = listen_on(on_loopback(), loop, handler);
        RawPeer reader(server->port());
        RawPeer silent(server->port());
        REQUIRE(reader.send(request_frame(1, "")));
        REQUIRE(silent.send(request_frame(1, "")));
        REQUIRE(wait_until([&] { return handler.frames == 2; }));
        std::thread stopper([&] { server->stop(3s); });  // silent never drains
        CHECK(read_reply(reader).body.size() == big.size());
        stopper.join();
        CHECK(handler.opened == 2);
        CHECK(handler.closed == 2);
        CHECK(server->connection_count() == 0);
    }

    TEST_CASE("a server stops after its loops have, and before they ever ran") {
        EchoHandler handler;
        {
            LoopThread loop;
            const std::unique_ptr<Server> server = listen_on(on_loopback(), loop, handler);
            RawPeer peer(server->port());
            REQUIRE(peer.send(request_frame(1, "x")));
            REQUIRE(read_reply(peer).is_whole);
            loop.stop();
            server->stop(0ms);
            CHECK(handler.closed == 1);
            CHECK(peer.receive(1).empty());
        }
        auto idle_loop = EventLoop::create({}).value();
        auto server = Server::listen(on_loopback(), {idle_loop.get()}, handler);
        REQUIRE(server);
        (*server)->stop(10ms);
    }
}
