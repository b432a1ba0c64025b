// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/etcd/etcd_coordinator.h"

#include "broker/replication/etcd/live_value.h"
#include "common/check.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {
namespace {

constexpr Logger kLog("coordinator");
constexpr std::chrono::milliseconds kListAgain{200};
constexpr std::chrono::milliseconds kStopLimit{1'000};
constexpr std::chrono::milliseconds kAttemptMin{500};
constexpr std::int64_t kLeaseSecondsMin = 2;
constexpr const char* kStateName = "state";
constexpr std::string_view kLiveFolder = "live/";

/// An endpoint as settings have it, "http://host:port/", without what HTTP adds.
std::string host_port_of(std::string_view endpoint) {
    constexpr std::string_view kScheme = "http://";
    if (endpoint.starts_with(kScheme)) {
        endpoint.remove_prefix(kScheme.size());
    }
    while (endpoint.ends_with('/')) {
        endpoint.remove_suffix(1);
    }
    return std::string(endpoint);
}

EtcdClient::Options client_options(const EtcdCoordinator::Options& options) {
    EtcdClient::Options made;
    for (const std::string& endpoint : options.endpoints) {
        made.endpoints.push_back(host_port_of(endpoint));
    }
    // Two endpoints can be silent, and the third still be asked in time.
    made.attempt_timeout = std::max(kAttemptMin, options.lease / 5);
    return made;
}

std::int64_t seconds_of(std::chrono::milliseconds lease) {
    const auto up = std::chrono::ceil<std::chrono::seconds>(lease).count();
    return std::max<std::int64_t>(kLeaseSecondsMin, up);
}

bool is_same_but_for_end(const LiveMember& a, LiveMember b) {
    b.log_end = a.log_end;
    return a == b;
}

/// Coordinator's terms: surely not, or who knows.
Error swap_error(Error error) {
    switch (error.code) {
        case Errc::kConflict:
            return error;
        case Errc::kGone:
        case Errc::kRefused:
        case Errc::kDenied:
        case Errc::kDiskFull:
        case Errc::kBusy:
            return Error{Errc::kGone, std::move(error.detail)};
        default:
            return Error{Errc::kUnknown, std::move(error.detail)};
    }
}

bool is_same(const GroupView& a, const GroupView& b) {
    return a.state == b.state && a.revision == b.revision && a.live == b.live &&
           a.is_current == b.is_current;
}

}  // namespace

EtcdCoordinator::EtcdCoordinator(net::EventLoop& loop, Clock& clock, Options options)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      folder_(options_.prefix + "/" + options_.cluster + "/" + options_.group + "/"),
      tick_(loop, [this] { tick(); }),
      again_(loop, [this] { list(); }),
      stop_limit_(loop,
                  [this] {
                      if (stopped_) {
                          auto done = std::move(stopped_);
                          done();
                      }
                  }),
      client_(std::make_unique<EtcdClient>(loop, client_options(options_))) {}

EtcdCoordinator::~EtcdCoordinator() = default;

std::string EtcdCoordinator::live_key() const {
    return folder_ + std::string(kLiveFolder) + std::to_string(self_.id.member);
}

void EtcdCoordinator::start(LiveMember self, OnView on_view) {
    self_ = std::move(self);
    on_view_ = std::move(on_view);
    tick_.start_every(options_.lease / 3);
    tick();
}

void EtcdCoordinator::announce(LiveMember self) {
    const bool is_urgent = !is_same_but_for_end(self, self_);
    self_ = std::move(self);
    if (is_urgent) {
        publish();
    }
}

void EtcdCoordinator::tick() {
    renew();
    list();
    publish();
    tell();  // it may have become old
}

void EtcdCoordinator::renew() {
    if (is_renewing_ || is_stopping_) {
        return;
    }
    is_renewing_ = true;
    auto done = [this, sent_at = clock_.steady()](Result<EtcdLease> lease) {
        on_lease(sent_at, std::move(lease));
    };
    if (lease_ == 0) {
        client_->grant(seconds_of(options_.lease), std::move(done));
    } else {
        client_->keep_alive(lease_, std::move(done));
    }
}

void EtcdCoordinator::on_lease(SteadyTime sent_at, Result<EtcdLease> lease) {
    is_renewing_ = false;
    if (is_stopping_) {
        return;
    }
    if (lease) {
        const auto lives = std::min<std::chrono::milliseconds>(std::chrono::seconds(lease->seconds),
                                                               options_.lease);
        lease_until_ = sent_at + lives * 9 / 10;
        lease_ = lease->id;
        publish();
        return;
    }
    if (lease.error().code == Errc::kNotFound) {
        kLog.warn("lease_lapsed", {{"group", options_.group}, {"lease", lease_}});
        lease_ = 0;
        published_.reset();
        renew();
        return;
    }
    is_full_ = is_full_ || lease.error().code == Errc::kDiskFull;
    kLog.warn("lease_not_renewed", {{"group", options_.group}, {"error", lease.error()}});
    tell();
}

void EtcdCoordinator::list() {
    if (is_stopping_) {
        return;
    }
    if (is_listing_) {
        must_list_again_ = true;
        return;
    }
    is_listing_ = true;
    must_list_again_ = false;
    client_->list(folder_, [this, sent_at = clock_.steady()](Result<EtcdListing> listing) {
        on_listing(sent_at, std::move(listing));
    });
}

void EtcdCoordinator::on_listing(SteadyTime sent_at, Result<EtcdListing> listing) {
    is_listing_ = false;
    if (is_stopping_) {
        return;
    }
    std::vector<UniqueFunction<void()>> waiting;
    if (must_list_again_) {
        list();  // what was asked for meanwhile has to be of later
    } else {
        waiting = std::exchange(after_listing_, {});
    }
    if (listing) {
        heard_at_ = sent_at;
        take(std::move(*listing));
        if (!is_watching_) {
            watch();
        }
        publish();
    } else {
        kLog.warn("group_not_read", {{"group", options_.group}, {"error", listing.error()}});
    }
    tell();
    for (UniqueFunction<void()>& task : waiting) {
        if (!is_stopping_) {
            task();
        }
    }
}

void EtcdCoordinator::take(EtcdListing listing) {
    const bool is_other_etcd = listing.cluster != cluster_;
    if (!is_other_etcd && (listing.revision < revision_ || listing.revision < own_write_)) {
        return;  // the watch was faster
    }
    if (is_other_etcd && cluster_ != 0) {
        kLog.error("other_etcd_cluster", {{"group", options_.group}});
        own_write_ = 0;
        is_watching_ = false;
        client_->end_watch();
    }
    cluster_ = listing.cluster;
    revision_ = listing.revision;
    keys_.clear();
    for (EtcdKey& key : listing.keys) {
        std::string name = key.key;
        keys_.insert_or_assign(std::move(name), std::move(key));
    }
    if (!keys_.contains(live_key())) {
        published_.reset();
    }
}

void EtcdCoordinator::watch() {
    is_watching_ = true;
    client_->watch(folder_, revision_ + 1, [this](const EtcdWatchNews& news) { on_news(news); });
}

void EtcdCoordinator::on_news(const EtcdWatchNews& news) {
    if (is_stopping_) {
        return;
    }
    bool must_publish = false;
    for (const EtcdChange& change : news.changes) {
        const auto known = keys_.find(change.key.key);
        if (change.key.revision <= revision_ ||
            (known != keys_.end() && known->second.revision >= change.key.revision)) {
            continue;  // from before a listing, or before a write of this member
        }
        if (!change.is_deleted) {
            keys_.insert_or_assign(change.key.key, change.key);
        } else {
            keys_.erase(change.key.key);
            must_publish = must_publish || change.key.key == live_key();
        }
    }
    if (!news.changes.empty()) {
        revision_ = std::max(revision_, news.changes.back().key.revision);
    }
    if (!news.ended.empty()) {
        kLog.info("watch_ended", {{"group", options_.group}, {"reason", news.ended}});
        is_watching_ = false;
        again_.start_once(kListAgain);
    }
    if (must_publish) {
        // Another's key went, or somebody deleted ours.
        published_.reset();
        publish();
    }
    tell();
}

std::optional<EtcdCondition> EtcdCoordinator::publish_condition() {
    const auto found = keys_.find(live_key());
    if (found == keys_.end()) {
        return EtcdCondition{};
    }
    const Result<LiveMember> there = decode_live(found->second.value);
    // Who was in the very directory that this process has locked is dead, whatever its lease says.
    const bool is_predecessor =
        there && there->id == self_.id && !self_.place.empty() && there->place == self_.place;
    if (there && there->incarnation != self_.incarnation && !is_predecessor) {
        if (std::exchange(refused_for_, there->incarnation) != there->incarnation) {
            kLog.warn("member_taken",
                      {{"group", options_.group},
                       {"member", self_.id.member},
                       {"by", there->replication_address},
                       {"incarnation", to_hex(there->incarnation)}});
        }
        return std::nullopt;
    }
    return EtcdCondition{.revision = found->second.revision};
}

void EtcdCoordinator::publish() {
    if (lease_ == 0 || revision_ == 0 || is_stopping_) {
        return;
    }
    if (is_publishing_) {
        must_publish_ = true;
        return;
    }
    if (published_ == self_ && !is_full_) {
        return;
    }
    const std::optional<EtcdCondition> condition = publish_condition();
    if (!condition) {
        published_.reset();
        return;
    }
    is_publishing_ = true;
    must_publish_ = false;
    EtcdKey key{.key = live_key(), .value = encode_live(self_), .lease = lease_};
    client_->put(key, *condition, [this, key, sent = self_](const Result<std::uint64_t>& outcome) {
        is_publishing_ = false;
        if (outcome && key.lease == lease_) {
            published_ = sent;
        }
        on_published(key, outcome);
    });
}

void EtcdCoordinator::on_published(const EtcdKey& sent, const Result<std::uint64_t>& outcome) {
    if (is_stopping_) {
        return;
    }
    if (outcome) {
        is_full_ = false;
        refused_for_ = 0;
        note_write(sent, *outcome);
        if (must_publish_) {
            publish();
        }
        tell();
        return;
    }
    switch (outcome.error().code) {
        case Errc::kConflict:
            list();  // and then again, or not
            return;
        case Errc::kNotFound:
            if (sent.lease == lease_) {
                lease_ = 0;
                published_.reset();
            }
            renew();
            return;
        case Errc::kDiskFull:
            is_full_ = true;
            break;
        default:
            break;
    }
    kLog.warn("member_not_published", {{"group", options_.group}, {"error", outcome.error()}});
    tell();
}

void EtcdCoordinator::note_write(const EtcdKey& sent, std::uint64_t revision) {
    own_write_ = std::max(own_write_, revision);
    EtcdKey& key = keys_[sent.key];
    if (key.revision < revision) {
        key = sent;
        key.revision = revision;
    }
}

void EtcdCoordinator::swap(std::uint64_t revision, const GroupState& next, SwapDone done) {
    EtcdKey key{.key = folder_ + kStateName, .value = encode_state(next)};
    client_->put(key,
                 {.revision = revision},
                 [this, key, callback = std::move(done)](Result<std::uint64_t> outcome) mutable {
                     on_swapped(key, std::move(outcome), std::move(callback));
                 });
}

void EtcdCoordinator::on_swapped(const EtcdKey& sent,
                                 Result<std::uint64_t> outcome,
                                 SwapDone done) {
    if (is_stopping_) {
        return;
    }
    if (outcome) {
        is_full_ = false;
        note_write(sent, *outcome);
        // The view waits for the listing: whoever swapped is not to take its own success for
        // somebody else's.
        list();
        done(std::move(outcome));
        return;
    }
    is_full_ = is_full_ || outcome.error().code == Errc::kDiskFull;
    Error error = swap_error(std::move(outcome).error());
    kLog.warn("state_not_swapped", {{"group", options_.group}, {"error", error}});
    if (error.code == Errc::kConflict) {
        // Told when the view has what it met.
        after_listing_.emplace_back(
            [callback = std::move(done), error]() mutable { callback(std::move(error)); });
        list();
        return;
    }
    list();
    done(std::move(error));
}

SteadyTime EtcdCoordinator::lease_until() const {
    return published_ ? lease_until_ : SteadyTime::min();
}

GroupView EtcdCoordinator::view() const {
    GroupView made;
    if (const auto found = keys_.find(folder_ + kStateName); found != keys_.end()) {
        const Result<GroupState> state = decode_state(found->second.value);
        if (!state) {
            kLog.error("bad_group_state", {{"group", options_.group}, {"error", state.error()}});
            made.is_current = false;
            return made;
        }
        made.state = *state;
        made.revision = found->second.revision;
    }
    const std::string live = folder_ + std::string(kLiveFolder);
    for (auto one = keys_.lower_bound(live); one != keys_.end() && one->first.starts_with(live);
         ++one) {
        if (const Result<LiveMember> member = decode_live(one->second.value)) {
            made.live.push_back(*member);
        }
    }
    made.is_current = heard_at_ && !is_full_ && clock_.steady() - *heard_at_ < options_.lease;
    return made;
}

void EtcdCoordinator::tell() {
    if (is_stopping_ || !on_view_) {
        return;
    }
    GroupView now = view();
    if (told_ && is_same(*told_, now)) {
        return;
    }
    told_ = now;
    on_view_(now);
}

void EtcdCoordinator::stop(UniqueFunction<void()> done) {
    GANTRY_ASSERT(!is_stopping_);
    is_stopping_ = true;
    tick_.cancel();
    again_.cancel();
    after_listing_.clear();
    client_ = nullptr;
    stopped_ = std::move(done);
    client_ = std::make_unique<EtcdClient>(loop_, client_options(options_));
    stop_limit_.start_once(lease_ != 0 ? kStopLimit : std::chrono::milliseconds(0));
    if (lease_ != 0) {
        client_->revoke(lease_, [this](const Status&) {
            stop_limit_.start_once(std::chrono::milliseconds(0));
        });
    }
}

}  // namespace gantry::broker
