// SPDX-License-Identifier: Apache-2.0
#include "broker/replication/static_coordinator.h"

#include "common/bytes.h"
#include "common/log.h"

#include <algorithm>
#include <utility>

namespace gantry::broker {
namespace {

constexpr Logger kLog("coordinator");
constexpr std::uint64_t kFileBytesMax = std::uint64_t{1} << 20U;

GroupState state_of(const wire::ReplicaStatus& status) {
    GroupState state;
    state.epoch = status.epoch();
    state.master = status.ismaster() ? status.member() : status.master();
    for (const wire::InSyncMember& one : status.insync()) {
        state = state.with({.member = one.member(), .storage = one.storageid()});
    }
    return state;
}

bool is_same(const GroupView& a, const GroupView& b) {
    return a.state == b.state && a.revision == b.revision && a.live == b.live &&
           a.is_current == b.is_current;
}

}  // namespace

StaticCoordinator::StaticCoordinator(
    net::EventLoop& loop, Clock& clock, FileSystem& files, Options options, Ask ask)
    : loop_(loop),
      clock_(clock),
      files_(files),
      options_(std::move(options)),
      ask_(std::move(ask)),
      timer_(loop, [this] { ask_all(); }),
      alive_(std::make_shared<StaticCoordinator*>(this)) {
    for (const std::string& address : options_.peers) {
        peers_.push_back({.address = address, .member = std::nullopt});
    }
}

StaticCoordinator::~StaticCoordinator() {
    *alive_ = nullptr;
}

Result<std::unique_ptr<StaticCoordinator>> StaticCoordinator::open(
    net::EventLoop& loop, Clock& clock, FileSystem& files, Options options, Ask ask) {
    std::unique_ptr<StaticCoordinator> made;
    made.reset(new StaticCoordinator(loop, clock, files, std::move(options), std::move(ask)));
    const Result<std::string> content = read_file(files, made->options_.file, kFileBytesMax);
    if (!content && content.error().code == Errc::kNotFound) {
        return made;
    }
    if (!content) {
        return content.error();
    }
    Result<GroupState> state = decode_state(*content);
    if (!state) {
        return Error{state.error().code,
                     made->options_.file.string() + ": " + state.error().detail};
    }
    made->state_ = std::move(*state);
    made->revision_ = 1;
    return made;
}

void StaticCoordinator::start(LiveMember self, OnView on_view) {
    self_ = std::move(self);
    on_view_ = std::move(on_view);
    timer_.start_every(options_.interval);
    ask_all();
    tell();
}

void StaticCoordinator::announce(LiveMember self) {
    self_ = std::move(self);
    tell();
}

void StaticCoordinator::ask_all() {
    for (std::size_t i = 0; i < peers_.size() && !is_stopping_; ++i) {
        if (std::exchange(peers_[i].is_asked, true)) {
            continue;
        }
        ask_(peers_[i].address, [alive = alive_, i](const Result<wire::ReplicaStatus>& status) {
            if (*alive != nullptr) {
                (*alive)->on_status(i, status);
            }
        });
    }
    tell();  // a peer may have been silent for too long
}

void StaticCoordinator::on_status(std::size_t peer, const Result<wire::ReplicaStatus>& status) {
    if (is_stopping_) {
        return;
    }
    Peer& asked = peers_[peer];
    asked.is_asked = false;
    asked.was_asked = true;
    if (status) {
        asked.heard_at = clock_.steady();
        asked.member =
            LiveMember{.id = {.member = status->member(), .storage = status->storageid()},
                       .replication_address = asked.address,
                       .client_address = status->clientaddress(),
                       .epoch = status->epoch(),
                       .log_end = status->logend()};
        learn(*status);
    }
    tell();
}

bool StaticCoordinator::overrules(const GroupState& theirs, bool is_their_master) const {
    if (theirs.epoch != state_.epoch) {
        return theirs.epoch > state_.epoch;
    }
    if (theirs.master != state_.master) {
        // Elected at once, by hand. One has to give way, and the same one everywhere.
        return theirs.master < state_.master;
    }
    return is_their_master && state_.master != self_.id.member && theirs != state_;
}

void StaticCoordinator::learn(const wire::ReplicaStatus& status) {
    GroupState theirs = state_of(status);
    // Whether a loss was accepted is told by the file of who accepted it.
    theirs.loss_accepted = theirs.epoch == state_.epoch && state_.loss_accepted;
    if (theirs.epoch <= 0 || theirs.members.empty() || !overrules(theirs, status.ismaster())) {
        return;
    }
    kLog.info("state_learnt",
              {{"from", status.member()}, {"epoch", theirs.epoch}, {"master", theirs.master}});
    // Not written is no harm: it is learnt again.
    if (const Status saved = save(theirs); !saved) {
        kLog.error("state_not_saved", {{"error", saved.error()}});
    }
    state_ = std::move(theirs);
    ++revision_;
}

Status StaticCoordinator::save(const GroupState& state) {
    GANTRY_TRY(files_.create_directories(options_.file.parent_path()));
    return write_file_atomically(files_, options_.file, as_bytes(encode_state(state) + "\n"));
}

void StaticCoordinator::later(UniqueFunction<void()> task) {
    const Status posted = loop_.post([alive = alive_, task = std::move(task)]() mutable {
        if (*alive != nullptr) {
            task();
        }
    });
    if (!posted) {
        kLog.warn("not_told", {{"error", posted.error()}});
    }
}

void StaticCoordinator::swap(std::uint64_t revision, const GroupState& next, SwapDone done) {
    Result<std::uint64_t> outcome = Error{Errc::kConflict,
                                          "the state is at revision " + std::to_string(revision_) +
                                              ", not " + std::to_string(revision)};
    if (revision == revision_) {
        if (const Status saved = save(next); saved) {
            state_ = next;
            outcome = ++revision_;
        } else {
            // Its name may be in the directory, and not durably so.
            outcome = Error{Errc::kUnknown, saved.error().detail};
        }
    }
    later([this, result = std::move(outcome), callback = std::move(done)]() mutable {
        if (!is_stopping_) {
            callback(std::move(result));
            tell();
        }
    });
}

GroupView StaticCoordinator::view() const {
    GroupView made{.state = state_, .revision = revision_, .live = {self_}, .is_current = true};
    for (const Peer& peer : peers_) {
        if (peer.member && clock_.steady() - peer.heard_at < options_.silence_max) {
            made.live.push_back(*peer.member);
        }
        made.is_current = made.is_current && peer.was_asked;
    }
    return made;
}

void StaticCoordinator::tell() {
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

void StaticCoordinator::stop(UniqueFunction<void()> done) {
    is_stopping_ = true;
    timer_.cancel();
    later(std::move(done));
}

}  // namespace gantry::broker
