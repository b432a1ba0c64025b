// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/http_server.h"

#include "common/check.h"
#include "common/log.h"
#include "protocol/net/socket.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

#include <exception>
#include <map>
#include <string_view>
#include <utility>

namespace gantry::net {

namespace {

constexpr Logger kLog("net");
constexpr ev_ssize_t kHeaderBytesMax = ev_ssize_t{16} << 10U;
constexpr ev_ssize_t kBodyBytesMax = ev_ssize_t{1} << 20U;
constexpr int kRequestSecondsMax = 30;
constexpr std::chrono::milliseconds kAcceptRetry{100};
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

/// A connection that closes its socket after it has left the poll set: evhttp's own does so before,
/// and takes a number out of the set that another thread's file may have by then.
bufferevent* make_connection(event_base* base, void* /*context*/) {
    return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
}

const char* reason_of(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 500:
            return "Internal Server Error";
        case 503:
            return "Service Unavailable";
        default:
            return status < 400 ? "OK" : "Error";
    }
}

}  // namespace

struct HttpServer::State {
    ~State() {
        if (http != nullptr) {
            evhttp_free(http);
        }
    }

    void answer(evhttp_request& request);
    HttpReply reply_to(evhttp_request& request);
    HttpReply run(const Handler& handler, const std::string& query) const;
    void pause_accepting();

    static void on_request(evhttp_request* request, void* context) {
        static_cast<State*>(context)->answer(*request);
    }

    static void on_accept_error(evconnlistener* /*listener*/, void* context) {
        static_cast<State*>(context)->pause_accepting();
    }

    std::unique_ptr<EventLoop> loop;
    std::unique_ptr<Timer> accept_retry;
    evhttp* http = nullptr;
    evconnlistener* listener = nullptr;
    std::map<std::string, Handler, std::less<>> handlers;
    std::uint16_t port = 0;
    bool is_started = false;
};

void HttpServer::State::pause_accepting() {
    // Out of descriptors: the listener stays readable, and the loop would spin.
    kLog.warn("http_accept_paused");
    evconnlistener_disable(listener);
    accept_retry->start_once(kAcceptRetry);
}

HttpReply HttpServer::State::run(const Handler& handler, const std::string& query) const {
    try {
        return handler(query);
    } catch (const std::exception& error) {
        kLog.error("http_handler_failed", {{"reason", error.what()}});
        return {.status = 500, .body = "the handler failed\n"};
    }
}

HttpReply HttpServer::State::reply_to(evhttp_request& request) {
    const evhttp_uri* const uri = evhttp_request_get_evhttp_uri(&request);
    const char* const path = uri != nullptr ? evhttp_uri_get_path(uri) : nullptr;
    const char* const query = uri != nullptr ? evhttp_uri_get_query(uri) : nullptr;
    const auto found = handlers.find(std::string_view(path != nullptr ? path : ""));
    if (found == handlers.end()) {
        return {.status = 404, .body = "no such page\n"};
    }
    const evhttp_cmd_type method = evhttp_request_get_command(&request);
    if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        return {.status = 405, .body = "GET and HEAD only\n"};
    }
    return run(found->second, query != nullptr ? query : "");
}

void HttpServer::State::answer(evhttp_request& request) {
    const HttpReply reply = reply_to(request);
    evkeyvalq* const headers = evhttp_request_get_output_headers(&request);
    evhttp_add_header(headers, "Content-Type", reply.content_type.c_str());
    if (reply.status == 405) {
        evhttp_add_header(headers, "Allow", "GET, HEAD");
    }
    if (evhttp_request_get_command(&request) == EVHTTP_REQ_HEAD) {
        evhttp_add_header(headers, "Content-Length", std::to_string(reply.body.size()).c_str());
    } else {
        evbuffer_add(
            evhttp_request_get_output_buffer(&request), reply.body.data(), reply.body.size());
    }
    evhttp_send_reply(&request, reply.status, reason_of(reply.status), nullptr);
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const Options& options,
                                                       const MetricRegistry& metrics,
                                                       std::function<std::string()> ready) {
    auto state = std::make_unique<State>();
    GANTRY_ASSIGN_OR_RETURN(state->loop, EventLoop::create({.name = "http"}));
    GANTRY_ASSIGN_OR_RETURN(UniqueFd socket, listen_tcp(options.address, options.port));
    state->port = static_cast<std::uint16_t>(host_of(local_address(socket.get())).port);
    state->http = evhttp_new(state->loop->base());
    if (state->http == nullptr) {
        return Error{Errc::kIo, "http server: no memory"};
    }
    evhttp_set_max_headers_size(state->http, kHeaderBytesMax);
    evhttp_set_max_body_size(state->http, kBodyBytesMax);
    evhttp_set_timeout(state->http, kRequestSecondsMax);
    // Other methods must reach the handler to be told 405.
    evhttp_set_allowed_methods(state->http,
                               EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                   EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_bevcb(state->http, &make_connection, nullptr);
    evhttp_set_gencb(state->http, &State::on_request, state.get());
    evhttp_bound_socket* const bound = evhttp_accept_socket_with_handle(state->http, socket.get());
    if (bound == nullptr) {
        return Error{Errc::kIo, "http server: cannot accept"};
    }
    [[maybe_unused]] const int owned_by_http = socket.release();
    state->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(state->listener, &State::on_accept_error);
    state->accept_retry = std::make_unique<Timer>(
        *state->loop, [raw = state.get()] { evconnlistener_enable(raw->listener); });
    std::unique_ptr<HttpServer> server(new HttpServer(std::move(state)));
    server->add("/healthz", [](const std::string&) { return HttpReply{.body = "ok\n"}; });
    server->add("/readyz", [is_ready = std::move(ready)](const std::string&) {
        const std::string reason = is_ready ? is_ready() : "";
        return reason.empty() ? HttpReply{.body = "ready\n"}
                              : HttpReply{.status = 503, .body = reason + "\n"};
    });
    server->add("/metrics", [&metrics](const std::string&) {
        return HttpReply{.content_type = kMetricsType, .body = metrics.render()};
    });
    return server;
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
    stop();
}

void HttpServer::add(const std::string& path, Handler handler) {
    GANTRY_ASSERT(!state_->is_started);
    state_->handlers[path] = std::move(handler);
}

void HttpServer::start() {
    GANTRY_ASSERT(!state_->is_started);
    state_->is_started = true;
    state_->loop->start_thread();
}

void HttpServer::stop() {
    state_->loop->stop();
    state_->loop->join();
}

std::uint16_t HttpServer::port() const noexcept {
    return state_->port;
}

}  // namespace gantry::net
