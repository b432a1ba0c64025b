// SPDX-License-Identifier: Apache-2.0
#include "broker/broker.h"

#include "broker/replica/replica_node.h"
#include "broker/replication/replica_info.h"
#include "broker/serving/serving.h"
#include "common/log.h"

#include <chrono>
#include <utility>

namespace gantry::broker {

namespace {

constexpr Logger kLog("broker");
constexpr std::chrono::milliseconds kRegistrationWait{2'000};

}  // namespace

Broker::Broker(Private /*unused*/,
               const BrokerOptions& options,
               Clock& clock,
               FileSystem& files,
               ReplicaInfo* replica)
    : options_(options),
      clock_(clock),
      files_(files),
      alone_(std::make_unique<AloneReplica>()),
      replica_(replica != nullptr ? *replica : *alone_),
      progress_(std::make_shared<ProgressRelay>()) {}

Broker::~Broker() {
    stop();
    http_.reset();
    progress_->set(nullptr);
    node_.reset();
    serving_.reset();
}

Result<std::unique_ptr<Broker>> Broker::start(const BrokerOptions& options,
                                              Clock& clock,
                                              FileSystem& files,
                                              ReplicaInfo* replica) {
    GANTRY_TRY(check_options(options));
    auto broker = std::make_unique<Broker>(Private{}, options, clock, files, replica);
    GANTRY_TRY(broker->open());
    return broker;
}

Status Broker::open() {
    GANTRY_ASSIGN_OR_RETURN(ClientPort place, ClientPort::take(options_));
    place_.emplace(std::move(place));
    if (options_.replication.is_on()) {
        GANTRY_ASSIGN_OR_RETURN(node_,
                                ReplicaNode::start({options_, clock_, files_, metrics_, *place_}));
    } else {
        GANTRY_TRY(open_alone());
    }
    is_running_ = true;
    GANTRY_TRY(open_http());
    if (node_) {
        node_->wait_until_settled(kRegistrationWait);
    } else {
        serving_->wait_for_registration(kRegistrationWait);
    }
    kLog.info("serving",
              {{"address", address()},
               {"cluster", options_.cluster},
               {"broker", options_.name},
               {"flush", options_.store_flush}});
    return ok();
}

Status Broker::open_alone() {
    GANTRY_ASSIGN_OR_RETURN(
        storage::Store::Opened opened,
        storage::Store::open(
            files_, clock_, metrics_, store_options(options_, place_->address().host)));
    store_ = std::move(opened.store);
    store_->on_progress([relay = progress_] { relay->report(); });
    GANTRY_ASSIGN_OR_RETURN(
        serving_, Serving::start({options_, clock_, metrics_, replica_, *store_, *place_}));
    progress_->set([serving = serving_.get()] { serving->on_store_progress(); });
    serving_->on_store_progress();
    return ok();
}

Status Broker::open_http() {
    net::HttpServer::Options options;
    options.address = options_.base.http_address;
    options.port = static_cast<std::uint16_t>(options_.base.http_port);
    GANTRY_ASSIGN_OR_RETURN(
        http_, net::HttpServer::listen(options, metrics_, [this] { return why_not_ready(); }));
    http_->start();
    return ok();
}

std::string Broker::why_not_ready() const {
    if (node_) {
        return node_->why_not_ready();
    }
    if (std::string reason = store_->read_only_reason(); !reason.empty()) {
        return "store takes no writes: " + reason;
    }
    return serving_->why_not_ready();
}

std::uint16_t Broker::port() const {
    return place_->port();
}

std::uint16_t Broker::http_port() const {
    return http_->port();
}

const std::string& Broker::address() const {
    return place_->address().text;
}

storage::Store& Broker::store() noexcept {
    return node_ ? node_->store() : *store_;
}

void Broker::stop() {
    if (!std::exchange(is_running_, false)) {
        return;
    }
    kLog.info("stopping", {{"broker", options_.name}});
    if (http_) {
        http_->stop();
    }
    if (node_) {
        node_->stop();
    } else {
        stop_alone();
    }
    kLog.info("stopped", {{"broker", options_.name}});
}

void Broker::stop_alone() {
    serving_->stop(Serving::Ending::kClean);
    progress_->set(nullptr);
    if (const Status closed = store_->close(); !closed) {
        kLog.error("store_close_failed", {{"error", closed.error()}});
    }
}

}  // namespace gantry::broker
