// SPDX-License-Identifier: Apache-2.0
#include "protocol/net/dialer.h"

#include "common/check.h"
#include "protocol/net/socket.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <sys/socket.h>
#include <system_error>
#include <utility>
#include <vector>

namespace gantry::net {

namespace {

bool is_same(const SocketAddress& a, const SocketAddress& b) {
    return host_of(a) == host_of(b);
}

}  // namespace

struct Dialer::State final : PassEnd {
    State(EventLoop& its_loop, std::string where)
        : loop(its_loop), address(std::move(where)), timeout(loop, [this] {
              is_refused = false;
              finish(Error{Errc::kGone, "connect to " + address + ": timed out"});
          }) {}

    ~State() override { stop(); }

    void start(std::chrono::milliseconds limit, OnDialled callback);
    void resolve(const HostPort& name);
    void on_resolved(int error, evutil_addrinfo* found);
    void connect_next();
    void on_connect_result();
    void finish(Result<UniqueFd> outcome);
    void stop();
    void on_pass_end() override;

    /// Outlives the State: libevent may call back after a cancel.
    struct Query {
        State* owner = nullptr;
    };

    static void resolved(int error, evutil_addrinfo* found, void* context);

    static void connected(evutil_socket_t /*fd*/, short /*what*/, void* context) {
        static_cast<State*>(context)->on_connect_result();
    }

    EventLoop& loop;
    std::string address;
    Timer timeout;
    OnDialled done;
    std::vector<SocketAddress> candidates;
    std::size_t next_candidate = 0;
    UniqueFd socket;

    struct event writable {};

    bool is_connecting = false;
    Query* query = nullptr;
    evdns_getaddrinfo_request* request = nullptr;
    std::string last_failure;
    bool is_refused = false;
    std::optional<Result<UniqueFd>> result;
};

void Dialer::State::start(std::chrono::milliseconds limit, OnDialled callback) {
    GANTRY_ASSERT(!done);
    done = std::move(callback);
    last_failure = "no address";
    is_refused = false;
    candidates.clear();
    next_candidate = 0;
    const Result<HostPort> name = split_host_port(address);
    if (!name) {
        finish(name.error());
        return;
    }
    timeout.start_once(limit);
    if (Result<SocketAddress> numeric = numeric_address(name->host, name->port)) {
        candidates.push_back(*numeric);
        connect_next();
    } else {
        resolve(*name);
    }
}

void Dialer::State::resolve(const HostPort& name) {
    loop.role().assert_held();
    evdns_base* const resolver = loop.resolver();
    if (resolver == nullptr) {
        finish(Error{Errc::kGone, "resolve " + address + ": no resolver"});
        return;
    }
    evutil_addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_protocol = IPPROTO_TCP;
    query = std::make_unique<Query>(Query{this}).release();
    evdns_getaddrinfo_request* const pending = evdns_getaddrinfo(
        resolver, name.host.c_str(), std::to_string(name.port).c_str(), &hints, &resolved, query);
    // Null when it has called back already.
    request = query != nullptr ? pending : nullptr;
}

void Dialer::State::resolved(int error, evutil_addrinfo* found, void* context) {
    const std::unique_ptr<Query> mine(static_cast<Query*>(context));
    if (mine->owner != nullptr) {
        mine->owner->query = nullptr;
        mine->owner->request = nullptr;
        mine->owner->on_resolved(error, found);
    }
    if (found != nullptr) {
        evutil_freeaddrinfo(found);
    }
}

void Dialer::State::on_resolved(int error, evutil_addrinfo* found) {
    loop.note_event();
    if (error != 0) {
        finish(Error{Errc::kGone, "resolve " + address + ": " + evutil_gai_strerror(error)});
        return;
    }
    for (const evutil_addrinfo* one = found; one != nullptr; one = one->ai_next) {
        SocketAddress candidate;
        if (one->ai_addrlen <= sizeof candidate.storage) {
            std::memcpy(&candidate.storage, one->ai_addr, one->ai_addrlen);
            candidate.length = one->ai_addrlen;
            candidates.push_back(candidate);
        }
    }
    connect_next();
}

void Dialer::State::connect_next() {
    while (next_candidate < candidates.size()) {
        const SocketAddress& candidate = candidates[next_candidate++];
        Result<UniqueFd> opened = open_tcp(candidate);
        if (!opened) {
            last_failure = opened.error().detail;
            continue;
        }
        socket = std::move(*opened);
        if (::connect(socket.get(), candidate.get(), candidate.length) != 0 &&
            errno != EINPROGRESS) {
            is_refused = errno == ECONNREFUSED;
            last_failure = std::generic_category().message(errno);
            continue;
        }
        event_assign(&writable, loop.base(), socket.get(), EV_WRITE, &connected, this);
        event_add(&writable, nullptr);
        is_connecting = true;
        return;
    }
    finish(Error{Errc::kGone, "connect to " + address + ": " + last_failure});
}

void Dialer::State::on_connect_result() {
    loop.note_event();
    is_connecting = false;
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    // A dial to a free port of this machine may be given that very port and meet itself.
    if (error == 0 && is_same(local_address(socket.get()), peer_address(socket.get()))) {
        error = ECONNREFUSED;
    }
    if (error == 0) {
        prepare_congestion_control(socket.get());
        finish(std::move(socket));
        return;
    }
    is_refused = error == ECONNREFUSED;
    last_failure = std::generic_category().message(error);
    socket.reset();
    connect_next();
}

void Dialer::State::finish(Result<UniqueFd> outcome) {
    stop();
    result.emplace(std::move(outcome));
    loop.role().assert_held();
    loop.at_pass_end(*this);
}

void Dialer::State::stop() {
    timeout.cancel();
    loop.role().assert_held();
    loop.forget(*this);
    if (std::exchange(is_connecting, false)) {
        event_del(&writable);
    }
    if (query != nullptr) {
        std::exchange(query, nullptr)->owner = nullptr;
        if (request != nullptr) {
            evdns_getaddrinfo_cancel(std::exchange(request, nullptr));
        }
    }
    socket.reset();
    result.reset();
}

void Dialer::State::on_pass_end() {
    Result<UniqueFd> outcome = std::move(*result);
    result.reset();
    OnDialled callback = std::move(done);
    callback(std::move(outcome));
}

Dialer::Dialer(EventLoop& loop, std::string address)
    : state_(std::make_shared<State>(loop, std::move(address))) {}

Dialer::~Dialer() {
    cancel();
    EventLoop& loop = state_->loop;
    loop.role().assert_held();
    loop.bury(std::move(state_));
}

void Dialer::start(std::chrono::milliseconds timeout, OnDialled done) {
    state_->start(timeout, std::move(done));
}

void Dialer::cancel() {
    state_->stop();
    state_->done.reset();
}

bool Dialer::was_refused() const noexcept {
    return state_->is_refused;
}

bool Dialer::is_dialling() const noexcept {
    return static_cast<bool>(state_->done);
}

}  // namespace gantry::net
