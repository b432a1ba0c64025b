// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/etcd/etcd_client.h"

#include "common/check.h"
#include "protocol/net/http/http_client.h"

#include <list>
#include <utility>

namespace gantry::broker {
namespace {

/// A line of a watch: at most a few states of one group.
constexpr std::size_t kLineBytesMax = std::size_t{4} << 20U;
constexpr int kHttpOk = 200;

using BodyDone = UniqueFunction<void(Result<std::string>)>;

}  // namespace

struct EtcdClient::State final : std::enable_shared_from_this<EtcdClient::State> {
    /// A request on its way from endpoint to endpoint.
    struct Call {
        std::string path;
        std::string body;
        bool may_repeat = false;
        std::size_t attempts = 0;
        BodyDone done;
        std::unique_ptr<net::HttpPost> post;
    };

    using Place = std::list<Call>::iterator;

    State(net::EventLoop& its_loop, Options its_options)
        : loop(its_loop), options(std::move(its_options)) {
        GANTRY_ASSERT(!options.endpoints.empty());
    }

    const std::string& endpoint() const { return options.endpoints[current]; }

    void rotate() { current = (current + 1) % options.endpoints.size(); }

    void call(const char* path, std::string body, bool may_repeat, BodyDone done);
    void attempt(Place place);
    void take(Place place, Result<net::HttpAnswer> outcome);
    void finish(Place place, Result<std::string> outcome);
    void take_piece(std::string_view piece);
    void tell(const EtcdWatchNews& news);

    /// Asks, and hands what `parse` makes of the answer to `done`.
    template <class T>
    void ask(const char* path,
             std::string body,
             bool may_repeat,
             Result<T> (*parse)(std::string_view),
             UniqueFunction<void(Result<T>)> done) {
        call(path,
             std::move(body),
             may_repeat,
             [parse, callback = std::move(done)](Result<std::string> answer) mutable {
                 callback(answer ? parse(*answer) : Result<T>(std::move(answer).error()));
             });
    }

    net::EventLoop& loop;
    const Options options;
    std::size_t current = 0;  // endpoint that answered last
    std::list<Call> calls;
    std::unique_ptr<net::HttpPost> watching;
    std::function<void(const EtcdWatchNews&)> on_news;
    std::string line;
};

void EtcdClient::State::call(const char* path, std::string body, bool may_repeat, BodyDone done) {
    calls.push_back({.path = path,
                     .body = std::move(body),
                     .may_repeat = may_repeat,
                     .done = std::move(done),
                     .post = nullptr});
    attempt(std::prev(calls.end()));
}

void EtcdClient::State::attempt(Place place) {
    ++place->attempts;
    place->post = std::make_unique<net::HttpPost>(loop);
    place->post->start({.endpoint = endpoint(), .path = place->path, .body = place->body},
                       options.attempt_timeout,
                       [this, place, asked = current](Result<net::HttpAnswer> outcome) {
                           if (!outcome && asked == current) {
                               rotate();  // unless another call has found out before
                           }
                           take(place, std::move(outcome));
                       });
}

void EtcdClient::State::take(Place place, Result<net::HttpAnswer> outcome) {
    Error error;
    if (outcome) {
        if (outcome->status == kHttpOk) {
            finish(place, std::move(outcome->body));
            return;
        }
        error = etcd_error(outcome->status, outcome->body);
        if (error.code == Errc::kUnknown) {
            rotate();  // this one has no leader, or is about to end
        }
    } else {
        error = std::move(outcome).error();
        error.code = error.code == Errc::kTimeout ? Errc::kUnknown : error.code;
    }
    const bool is_open =
        error.code == Errc::kGone || (error.code == Errc::kUnknown && place->may_repeat);
    if (is_open && place->attempts < options.endpoints.size()) {
        attempt(place);
        return;
    }
    finish(place, std::move(error));
}

void EtcdClient::State::finish(Place place, Result<std::string> outcome) {
    const auto self = shared_from_this();  // the callback may destroy the client
    BodyDone done = std::move(place->done);
    calls.erase(place);
    done(std::move(outcome));
}

void EtcdClient::State::tell(const EtcdWatchNews& news) {
    const auto self = shared_from_this();
    const auto callback = on_news;
    if (!news.ended.empty()) {
        watching.reset();
        on_news = nullptr;
    }
    if (callback) {
        callback(news);
    }
}

void EtcdClient::State::take_piece(std::string_view piece) {
    const auto self = shared_from_this();
    line += piece;
    std::size_t end = line.find('\n');
    for (; end != std::string::npos && watching; end = line.find('\n')) {
        const Result<EtcdWatchNews> news = parse_etcd_watch(std::string_view(line).substr(0, end));
        line.erase(0, end + 1);
        tell(news ? *news : EtcdWatchNews{.ended = news.error().detail});
    }
    if (line.size() > kLineBytesMax && watching) {
        tell({.ended = "a line of " + std::to_string(line.size()) + " B > " +
                       std::to_string(kLineBytesMax) + " B"});
    }
}

EtcdClient::EtcdClient(net::EventLoop& loop, Options options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

EtcdClient::~EtcdClient() {
    end_watch();
    state_->calls.clear();
}

void EtcdClient::list(std::string_view prefix, Done<EtcdListing> done) {
    state_->ask<EtcdListing>(
        "/v3/kv/range", etcd_range_request(prefix), true, &parse_etcd_listing, std::move(done));
}

void EtcdClient::put(const EtcdKey& key, const EtcdCondition& condition, Done<std::uint64_t> done) {
    state_->ask<std::uint64_t>(
        "/v3/kv/txn", etcd_put_request(key, condition), false, &parse_etcd_put, std::move(done));
}

void EtcdClient::grant(std::int64_t seconds, Done<EtcdLease> done) {
    state_->ask<EtcdLease>(
        "/v3/lease/grant", etcd_grant_request(seconds), true, &parse_etcd_lease, std::move(done));
}

void EtcdClient::keep_alive(std::int64_t lease, Done<EtcdLease> done) {
    state_->ask<EtcdLease>(
        "/v3/lease/keepalive", etcd_lease_request(lease), true, &parse_etcd_lease, std::move(done));
}

void EtcdClient::revoke(std::int64_t lease, UniqueFunction<void(Status)> done) {
    state_->call("/v3/lease/revoke",
                 etcd_lease_request(lease),
                 true,
                 [callback = std::move(done)](Result<std::string> answer) mutable {
                     callback(answer ? ok() : Status(std::move(answer).error()));
                 });
}

void EtcdClient::watch(std::string_view prefix,
                       std::uint64_t from_revision,
                       std::function<void(const EtcdWatchNews&)> on_news) {
    end_watch();
    State* const state = state_.get();
    state->on_news = std::move(on_news);
    state->watching = std::make_unique<net::HttpPost>(state->loop);
    state->watching->stream(
        {.endpoint = state->endpoint(),
         .path = "/v3/watch",
         .body = etcd_watch_request(prefix, from_revision)},
        state->options.attempt_timeout,
        [state](std::string_view piece) { state->take_piece(piece); },
        [state](const Result<net::HttpAnswer>& outcome) {
            if (!outcome) {
                state->rotate();
            }
            state->tell({.ended = outcome ? "etcd ended it, HTTP " + std::to_string(outcome->status)
                                          : outcome.error().detail});
        });
}

void EtcdClient::end_watch() {
    state_->watching.reset();
    state_->on_news = nullptr;
    state_->line.clear();
}

}  // namespace gantry::broker
