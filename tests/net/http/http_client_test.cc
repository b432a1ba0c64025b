// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/http/http_client.h"

#include "protocol/net/http_server.h"
#include "tests/net/fixture.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <poll.h>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;

namespace {

using std::chrono::milliseconds;

/// Takes one connection, reads the request up to its body's end and does what the test says.
class OneAnswer {
public:
    explicit OneAnswer(std::function<void(RawPeer&)> answer)
        : socket_(listen_tcp("127.0.0.1", 0).value()),
          thread_([this, then = std::move(answer)] { serve(then); }) {}

    ~OneAnswer() { thread_.join(); }

    OneAnswer(const OneAnswer&) = delete;
    OneAnswer& operator=(const OneAnswer&) = delete;

    std::string endpoint() const { return to_string(local_address(socket_.get())); }

    std::string request() {
        const std::lock_guard hold(mutex_);
        return request_;
    }

private:
    void serve(const std::function<void(RawPeer&)>& then) {
        pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
        ::poll(&ready, 1, 10'000);
        RawPeer peer(UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
        std::string text;
        while (text.find("{}") == std::string::npos) {
            const std::string some = peer.receive(1);
            if (some.empty()) {
                break;
            }
            text += some;
        }
        {
            const std::lock_guard hold(mutex_);
            request_ = text;
        }
        then(peer);
    }

    UniqueFd socket_;
    std::mutex mutex_;
    std::string request_;
    std::thread thread_;
};

struct Client {
    Result<HttpAnswer> post(const std::string& endpoint, milliseconds timeout = kPatience) {
        std::promise<Result<HttpAnswer>> promise;
        auto future = promise.get_future();
        loop.run([&] {
            request = std::make_unique<HttpPost>(*loop);
            request->start({.endpoint = endpoint, .path = "/v3/x", .body = "{}"},
                           timeout,
                           [&](Result<HttpAnswer> answer) {
                               request.reset();
                               promise.set_value(std::move(answer));
                           });
        });
        return future.get();
    }

    ~Client() {
        loop.run([this] { request.reset(); });
    }

    LoopThread loop;
    std::unique_ptr<HttpPost> request;
};

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("net/http_client") {
    TEST_CASE("any status is an answer, with its body") {
        OneAnswer server([](RawPeer& peer) {
            peer.send("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello");
        });
        Client client;
        const auto answer = client.post(server.endpoint());
        REQUIRE(answer);
        CHECK(answer->status == 404);
        CHECK(answer->body == "hello");
        const std::string request = server.request();
        CHECK(request.starts_with("POST /v3/x HTTP/1.1\r\n"));
        CHECK(has(request, "Content-Type: application/json\r\n"));
        CHECK(has(request, "Content-Length: 2\r\n"));
        CHECK(has(request, "Connection: close\r\n"));
    }

    TEST_CASE("a name is resolved") {
        OneAnswer server([](RawPeer& peer) {
            peer.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        });
        Client client;
        const std::string endpoint = server.endpoint();
        const auto answer = client.post("localhost" + endpoint.substr(endpoint.find(':')));
        REQUIRE(answer);
        CHECK(answer->body == "abcde");
    }

    TEST_CASE("nobody there is kGone: nothing was sent") {
        std::string endpoint;
        {
            const UniqueFd socket = listen_tcp("127.0.0.1", 0).value();
            endpoint = to_string(local_address(socket.get()));
        }
        Client client;
        CHECK(client.post(endpoint).error().code == Errc::kGone);
        CHECK(client.post("no port").error().code == Errc::kRefused);
    }

    TEST_CASE("a connection lost after the request is kUnknown") {
        OneAnswer server([](RawPeer& peer) { peer.close(); });
        Client client;
        CHECK(client.post(server.endpoint()).error().code == Errc::kUnknown);
    }

    TEST_CASE("half an answer is none") {
        OneAnswer server([](RawPeer& peer) {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
            peer.close();
        });
        Client client;
        CHECK(client.post(server.endpoint()).error().code == Errc::kUnknown);
    }

    TEST_CASE("no answer in time is kTimeout, when something was sent") {
        std::promise<void> over;
        OneAnswer server([&](RawPeer& /*peer*/) { over.get_future().wait(); });
        Client client;
        const auto answer = client.post(server.endpoint(), milliseconds(100));
        over.set_value();
        CHECK(answer.error().code == Errc::kTimeout);
        CHECK(has(answer.error().detail, "no answer in time"));
    }

    TEST_CASE("what is no HTTP is an error") {
        OneAnswer server([](RawPeer& peer) {
            peer.send("garbage\r\n\r\n");
            peer.close();
        });
        Client client;
        CHECK(client.post(server.endpoint()).error().code == Errc::kUnknown);
    }

    TEST_CASE("a stream is handed out as it comes, and may be given up in the middle") {
        std::promise<void> first_seen;
        OneAnswer server([&](RawPeer& peer) {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
            first_seen.get_future().wait();
            peer.send("3\r\ndef\r\n");
            peer.receive_all();  // until the client is gone
        });
        LoopThread loop;
        std::unique_ptr<HttpPost> stream;
        std::string got;
        std::promise<void> all;
        loop.run([&] {
            stream = std::make_unique<HttpPost>(*loop);
            stream->stream(
                {.endpoint = server.endpoint(), .path = "/", .body = "{}"},
                kPatience,
                [&](std::string_view piece) {
                    got += piece;
                    if (got == "abc") {
                        first_seen.set_value();
                    } else if (got == "abcdef") {
                        stream.reset();
                        all.set_value();
                    }
                },
                [](const Result<HttpAnswer>&) { FAIL("given up"); });
        });
        all.get_future().wait();
        CHECK(got == "abcdef");
    }

    TEST_CASE("a stream that the server ends is done") {
        OneAnswer server([](RawPeer& peer) {
            peer.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n0\r\n\r\n");
        });
        LoopThread loop;
        std::unique_ptr<HttpPost> stream;
        std::string got;
        std::promise<int> status;
        loop.run([&] {
            stream = std::make_unique<HttpPost>(*loop);
            stream->stream(
                {.endpoint = server.endpoint(), .path = "/", .body = "{}"},
                kPatience,
                [&](std::string_view piece) { got += piece; },
                [&](const Result<HttpAnswer>& answer) {
                    status.set_value(answer ? answer->status : -1);
                });
        });
        CHECK(status.get_future().get() == 200);
        CHECK(got == "abc");
        loop.run([&] { stream.reset(); });
    }
}
