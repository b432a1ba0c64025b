// SPDX-License-Identifier: Apache-2.0
#include "broker/replica/local_copy.h"

#include "common/log.h"
#include "common/random.h"
#include "storage/replica/seed.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("replica");

/// Which run of the machine this is.
std::string boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string text;
    std::getline(file, text);
    return text;
}

}  // namespace

LocalCopy::LocalCopy(const Parts& parts)
    : parts_(parts),
      progress_(std::make_shared<ProgressRelay>()),
      to_serving_(std::make_shared<ProgressRelay>()) {}

LocalCopy::~LocalCopy() {
    progress_->set(nullptr);
    if (const Status closed = close(); !closed) {
        kLog.error("store_close_failed", {{"error", closed.error()}});
    }
}

storage::StoreOptions LocalCopy::store_options_of() const {
    storage::StoreOptions options = store_options(parts_.options, parts_.place.address().host);
    options.is_replicated = true;
    options.is_follower = true;
    return options;
}

Status LocalCopy::open() {
    GANTRY_ASSIGN_OR_RETURN(
        identity_, storage::StorageIdentity::open(parts_.files, store_options_of(), boot_id()));
    gauges_ = parts_.metrics.mark();
    Result<storage::Store::Opened> opened =
        storage::Store::open(parts_.files, parts_.clock, parts_.metrics, store_options_of());
    if (!opened) {
        parts_.metrics.remove_gauges(gauges_);
        return opened.error();
    }
    store_ = std::move(opened->store);
    store_->on_progress([to = progress_, serving = to_serving_] {
        to->report();
        serving->report();
    });
    open_store_.store(store_.get());
    return ok();
}

void LocalCopy::stop_serving(Serving::Ending ending) {
    Serving* serving = nullptr;
    {
        const MutexLock lock(mutex_);
        serving = serving_.get();
    }
    if (serving == nullptr) {
        return;
    }
    serving->stop(ending);
    to_serving_->set(nullptr);
    std::unique_ptr<Serving> ended;
    {
        const MutexLock lock(mutex_);
        ended = std::move(serving_);
    }
}

Status LocalCopy::serve(const std::function<void()>& change) {
    stop_serving(Serving::Ending::kRoleChange);
    change();
    GANTRY_ASSIGN_OR_RETURN(
        std::unique_ptr<Serving> started,
        Serving::start(
            {parts_.options, parts_.clock, parts_.metrics, parts_.role, *store_, parts_.place}));
    to_serving_->set([serving = started.get()] { serving->on_store_progress(); });
    started->on_store_progress();
    const MutexLock lock(mutex_);
    serving_ = std::move(started);
    return ok();
}

Status LocalCopy::close() {
    stop_serving(Serving::Ending::kRoleChange);
    if (!store_) {
        return ok();
    }
    open_store_.store(nullptr);
    Status closed = store_->close();
    parts_.metrics.remove_gauges(gauges_);
    store_.reset();
    return closed;
}

Status LocalCopy::promise(std::int64_t epoch) {
    return identity_->promise(epoch);
}

Result<storage::Appended> LocalCopy::lead(std::int64_t epoch, bool loss_accepted) {
    GANTRY_TRY(identity_->promise(epoch));
    wire::EpochPut put;
    put.set_epoch(epoch);
    put.set_id(random_seed());
    put.set_member(parts_.role.member());
    put.set_acceptedloss(loss_accepted);
    return store_->replica().lead(put);
}

Result<storage::StoreCut> LocalCopy::cut(LogOffset at) {
    return storage::cut_store(parts_.files, store_options_of(), at);
}

Result<storage::StoreCut> LocalCopy::put_aside() {
    identity_.reset();
    return storage::put_store_aside(parts_.files, store_options_of());
}

Status LocalCopy::plant(const wire::StoreSeed& seed) {
    return storage::plant_seed(parts_.files, store_options_of(), seed);
}

MemberId LocalCopy::id() const noexcept {
    return {parts_.role.member(), identity_ ? identity_->id() : 0};
}

/// What the log knows was obeyed too, whatever became of the identity.
std::int64_t LocalCopy::promised_epoch() const noexcept {
    const std::int64_t promised = identity_ ? identity_->promised_epoch() : 0;
    const std::int64_t known =
        store_ ? storage::newest_epoch(store_->replica().epochs()) : std::int64_t{0};
    return std::max(promised, known);
}

bool LocalCopy::was_renewed() const noexcept {
    return identity_ && identity_->was_renewed();
}

std::string LocalCopy::why_not_ready() const {
    const MutexLock lock(mutex_);
    return serving_ ? serving_->why_not_ready() : "its role is changing";
}

}  // namespace gantry::broker
