// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/http_server.h"

#include "tests/net/fixture.h"

#include <atomic>
#include <stdexcept>

using namespace gantry;
using namespace gantry::net;
using namespace gantry::net::test;

namespace {

struct Site {
    Site() {
        auto listened = HttpServer::listen({}, metrics, [this] {
            return is_ready ? std::string() : std::string("the log is being recovered");
        });
        REQUIRE(listened);
        server = std::move(listened).value();
        server->add("/api/v1/echo",
                    [](const std::string& query) { return HttpReply{.body = query}; });
        server->add("/throws",
                    [](const std::string&) -> HttpReply { throw std::runtime_error("oops"); });
        server->start();
    }

    std::string ask(const std::string& request) const {
        RawPeer peer(server->port());
        REQUIRE(peer.send(request));
        return peer.receive_all();
    }

    std::string get(const std::string& path, const std::string& method = "GET") const {
        return ask(method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }

    MetricRegistry metrics;
    std::atomic<bool> is_ready = true;
    std::unique_ptr<HttpServer> server;
};

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("net/http_server") {
    TEST_CASE("health is always well, readiness says why not") {
        Site site;
        CHECK(has(site.get("/healthz"), "HTTP/1.1 200 OK"));
        CHECK(has(site.get("/readyz"), "HTTP/1.1 200 OK"));
        site.is_ready = false;
        const std::string answer = site.get("/readyz");
        CHECK(has(answer, "HTTP/1.1 503 Service Unavailable"));
        CHECK(has(answer, "the log is being recovered"));
        CHECK(has(site.get("/healthz"), "200 OK"));
    }

    TEST_CASE("metrics come as Prometheus text") {
        Site site;
        site.metrics.counter("gantry_net_frames_total", "Frames received.").add(3);
        const std::string answer = site.get("/metrics");
        CHECK(has(answer, "Content-Type: text/plain; version=0.0.4"));
        CHECK(has(answer, "gantry_net_frames_total 3"));
        CHECK(has(answer, "# HELP gantry_net_frames_total Frames received."));
    }

    TEST_CASE("added pages get their query, unknown ones are 404, other methods 405") {
        Site site;
        CHECK(has(site.get("/api/v1/echo?topic=a&n=1"), "\r\n\r\ntopic=a&n=1"));
        CHECK(has(site.get("/nothing"), "HTTP/1.1 404 Not Found"));
        const std::string refused = site.get("/healthz", "POST");
        CHECK(has(refused, "HTTP/1.1 405 Method Not Allowed"));
        CHECK(has(refused, "Allow: GET, HEAD"));
    }

    TEST_CASE("HEAD is answered without a body") {
        Site site;
        const std::string answer = site.get("/healthz", "HEAD");
        CHECK(has(answer, "200 OK"));
        CHECK(has(answer, "Content-Length: 3"));
        CHECK_FALSE(has(answer, "\r\n\r\nok"));
    }

    TEST_CASE("a handler that throws is 500 and the server goes on") {
        Site site;
        CHECK(has(site.get("/throws"), "HTTP/1.1 500"));
        CHECK(has(site.get("/healthz"), "200 OK"));
    }

    TEST_CASE("headers beyond the limit and garbage are refused") {
        Site site;
        const std::string big =
            "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n";
        CHECK_FALSE(has(site.ask(big), "200 OK"));
        CHECK_FALSE(has(site.ask("nonsense\r\n\r\n"), "200 OK"));
        CHECK(has(site.get("/healthz"), "200 OK"));
    }

    TEST_CASE("a port in use is kConflict") {
        Site site;
        MetricRegistry metrics;
        const auto second = HttpServer::listen({.port = site.server->port()}, metrics, {});
        REQUIRE_FALSE(second);
        CHECK(second.error().code == Errc::kConflict);
    }
}
