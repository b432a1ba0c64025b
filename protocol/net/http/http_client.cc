// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/http/http_client.h"

#include "common/check.h"
#include "protocol/net/socket.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include <optional>
#include <utility>

namespace gantry::net {

namespace {

constexpr ev_ssize_t kHeaderBytesMax = ev_ssize_t{64} << 10U;
constexpr ev_ssize_t kBodyBytesMax = ev_ssize_t{16} << 20U;
/// libevent ends a connection that is silent for 50 s; ours have timers of their own.
constexpr timeval kNoTimeout{.tv_sec = 86'400 * 365, .tv_usec = 0};

}  // namespace

struct HttpPost::State final : PassEnd {
    explicit State(EventLoop& its_loop)
        : loop(its_loop), timer(loop, [this] {
              finish(Error{is_sent ? Errc::kTimeout : Errc::kGone, name() + ": no answer in time"});
          }) {}

    ~State() override { close(); }

    std::string name() const { return "POST http://" + request.endpoint + request.path; }

    void open(std::chrono::milliseconds timeout);
    Status send(const HostPort& where);
    void take_piece(evhttp_request& answered);
    void take_answer(evhttp_request* answered);
    void finish(Result<HttpAnswer> outcome);
    void close();
    void on_pass_end() override;

    static void answered(evhttp_request* request, void* context) {
        static_cast<State*>(context)->take_answer(request);
    }

    static void piece(evhttp_request* request, void* context) {
        static_cast<State*>(context)->take_piece(*request);
    }

    static void failed(evhttp_request_error why, void* context);

    static void written(evbuffer* /*buffer*/, const evbuffer_cb_info* info, void* context) {
        State& state = *static_cast<State*>(context);
        state.is_sent = state.is_sent || info->n_deleted > 0;
    }

    EventLoop& loop;
    Timer timer;
    Request request;
    OnPiece on_piece;
    Done done;
    evhttp_connection* connection = nullptr;
    std::string failure = "connection lost";
    bool is_sent = false;  // some of it may have left
    std::optional<Result<HttpAnswer>> result;
    std::string pieces;  // of a stream, not handed out yet
    int status = 0;
};

void HttpPost::State::failed(evhttp_request_error why, void* context) {
    State& state = *static_cast<State*>(context);
    switch (why) {
        case EVREQ_HTTP_TIMEOUT:
            state.failure = "timed out";
            break;
        case EVREQ_HTTP_INVALID_HEADER:
            state.failure = "the answer is no HTTP";
            break;
        case EVREQ_HTTP_DATA_TOO_LONG:
            state.failure = "the answer is too long";
            break;
        case EVREQ_HTTP_EOF:
        case EVREQ_HTTP_BUFFER_ERROR:
        case EVREQ_HTTP_REQUEST_CANCEL:
            break;
    }
}

void HttpPost::State::open(std::chrono::milliseconds timeout) {
    const Result<HostPort> where = split_host_port(request.endpoint);
    const Status sent = where ? send(*where) : Status(where.error());
    if (!sent) {
        finish(sent.error());
        return;
    }
    timer.start_once(timeout);
}

Status HttpPost::State::send(const HostPort& where) {
    loop.role().assert_held();
    // The resolver only where there is a name: making it reads files.
    const bool is_numeric = numeric_address(where.host, where.port).has_value();
    connection = evhttp_connection_base_new(
        loop.base(), is_numeric ? nullptr : loop.resolver(), where.host.c_str(), where.port);
    evhttp_request* const out = evhttp_request_new(&State::answered, this);
    if (connection == nullptr || out == nullptr) {
        return Error{Errc::kGone, name() + ": no memory"};
    }
    evhttp_connection_set_max_headers_size(connection, kHeaderBytesMax);
    if (!on_piece) {
        evhttp_connection_set_max_body_size(connection, kBodyBytesMax);
    }
    evhttp_connection_set_timeout_tv(connection, &kNoTimeout);
    bufferevent* const stream = evhttp_connection_get_bufferevent(connection);
    evbuffer_add_cb(bufferevent_get_output(stream), &State::written, this);
    evhttp_request_set_error_cb(out, &State::failed);
    if (on_piece) {
        evhttp_request_set_chunked_cb(out, &State::piece);
    }
    evkeyvalq* const headers = evhttp_request_get_output_headers(out);
    evhttp_add_header(headers, "Host", request.endpoint.c_str());
    evhttp_add_header(headers, "Content-Type", "application/json");
    evhttp_add_header(headers, "Connection", "close");
    evbuffer_add(evhttp_request_get_output_buffer(out), request.body.data(), request.body.size());
    if (evhttp_make_request(connection, out, EVHTTP_REQ_POST, request.path.c_str()) != 0) {
        return Error{Errc::kGone, name() + ": cannot be sent"};
    }
    return ok();
}

void HttpPost::State::take_piece(evhttp_request& answered) {
    loop.note_event();
    status = evhttp_request_get_response_code(&answered);
    evbuffer* const body = evhttp_request_get_input_buffer(&answered);
    const std::size_t bytes = evbuffer_get_length(body);
    const std::size_t had = pieces.size();
    pieces.resize(had + bytes);
    evbuffer_copyout(body, pieces.data() + had, bytes);
    timer.cancel();
    loop.role().assert_held();
    loop.at_pass_end(*this);
}

void HttpPost::State::take_answer(evhttp_request* answered) {
    loop.note_event();
    const int code = answered != nullptr ? evhttp_request_get_response_code(answered) : 0;
    if (code == 0) {
        finish(Error{is_sent ? Errc::kUnknown : Errc::kGone, name() + ": " + failure});
        return;
    }
    HttpAnswer answer{.status = code};
    if (!on_piece) {
        evbuffer* const body = evhttp_request_get_input_buffer(answered);
        answer.body.resize(evbuffer_get_length(body));
        evbuffer_copyout(body, answer.body.data(), answer.body.size());
    }
    finish(std::move(answer));
}

void HttpPost::State::finish(Result<HttpAnswer> outcome) {
    timer.cancel();
    if (!result) {
        result.emplace(std::move(outcome));
    }
    loop.role().assert_held();
    loop.at_pass_end(*this);
}

void HttpPost::State::close() {
    timer.cancel();
    loop.role().assert_held();
    loop.forget(*this);
    if (connection != nullptr) {
        // Its buffer drains when it is freed, which is no sending.
        evbuffer_remove_cb(bufferevent_get_output(evhttp_connection_get_bufferevent(connection)),
                           &State::written,
                           this);
        evhttp_connection_free(std::exchange(connection, nullptr));
    }
}

void HttpPost::State::on_pass_end() {
    if (on_piece && !pieces.empty()) {
        const std::string some = std::exchange(pieces, {});
        on_piece(some);
    }
    if (!result || !done) {
        return;
    }
    close();
    Done callback = std::move(done);
    callback(std::move(*result));
}

HttpPost::HttpPost(EventLoop& loop) : state_(std::make_shared<State>(loop)) {}

HttpPost::~HttpPost() {
    state_->close();
    state_->done.reset();
    EventLoop& loop = state_->loop;
    loop.role().assert_held();
    loop.bury(std::move(state_));
}

void HttpPost::start(Request request, std::chrono::milliseconds timeout, Done done) {
    GANTRY_ASSERT(!state_->done);
    state_->request = std::move(request);
    state_->done = std::move(done);
    state_->open(timeout);
}

void HttpPost::stream(Request request,
                      std::chrono::milliseconds timeout,
                      OnPiece on_piece,
                      Done done) {
    state_->on_piece = std::move(on_piece);
    start(std::move(request), timeout, std::move(done));
}

}  // namespace gantry::net
