// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/replication/replica_info.h"
#include "broker/serving/client_port.h"
#include "broker/serving/serving.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/metrics.h"
#include "storage/replica/replica_log.h"
#include "storage/store.h"
#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace gantry::broker {

/// What the serving part is told of its group: whatever a test says.
class FakeReplica final : public ReplicaInfo {
public:
    ReplicaRole role() const noexcept override { return its_role.load(); }

    std::int64_t epoch() const noexcept override { return its_epoch.load(); }

    std::int64_t member() const noexcept override { return 2; }

    std::uint32_t in_sync() const noexcept override { return copies.load(); }

    LogOffset acknowledged() const noexcept override { return LogOffset(acknowledged_to.load()); }

    bool may_acknowledge() const noexcept override { return is_sure.load(); }

    std::int64_t reading_slave() const noexcept override { return reader.load(); }

    std::string master_address() const override {
        return knows_master.load() ? "10.0.0.9:10911" : "";
    }

    std::string replication_address() const override { return "10.0.0.2:10912"; }

    void status(std::function<void(wire::ReplicaStatus)> done) override {
        wire::ReplicaStatus status;
        status.set_member(member());
        status.set_epoch(epoch());
        status.set_ismaster(role() == ReplicaRole::kMaster);
        done(std::move(status));
    }

    void promote(const wire::PromoteRequest& request,
                 std::function<void(Result<wire::PromoteResponse>)> done) override {
        wire::PromoteResponse response;
        response.set_isdone(request.confirm());
        response.set_epoch(epoch() + 1);
        done(std::move(response));
    }

    std::atomic<ReplicaRole> its_role{ReplicaRole::kMaster};
    std::atomic<std::int64_t> its_epoch{3};
    std::atomic<std::uint32_t> copies{2};
    std::atomic<std::int64_t> acknowledged_to{INT64_MAX};
    std::atomic<bool> is_sure{true};
    std::atomic<std::int64_t> reader{-1};
    std::atomic<bool> knows_master{true};
};

/// The serving part of a broker of a group, on a replicated store of its own: what the other copies
/// have is what the test confirms.
class ServingFixture {
public:
    /// `adjust` changes the options. A follower serves as a slave from the start.
    explicit ServingFixture(const std::function<void(BrokerOptions&)>& adjust = {},
                            bool is_follower = false) {
        options.base.listen_address = "127.0.0.1";
        options.base.listen_port = 0;
        options.store_directory = directory_.path() / "store";
        options.store_segment_bytes = std::int64_t{16} << 20;
        options.store_prefault_bytes = std::int64_t{1} << 20;
        options.store_free_bytes_min = 0;
        if (adjust) {
            adjust(options);
        }
        replica.its_role = is_follower ? ReplicaRole::kSlave : ReplicaRole::kMaster;
        place_ = std::make_unique<ClientPort>(sure(ClientPort::take(options)));
        storage::StoreOptions wanted = store_options(options, place_->address().host);
        wanted.is_replicated = true;
        wanted.is_follower = is_follower;
        store_ = std::move(sure(storage::Store::open(*files_, clock_, metrics_, wanted)).store);
        store_->on_progress([this] { tell_progress(); });
        serving_ = sure(Serving::start({options, clock_, metrics_, replica, *store_, *place_}));
        serving_seen_ = serving_.get();
        native_ = std::make_unique<RpcClient>(address(), wire::Codec::kNative);
        json_ = std::make_unique<RpcClient>(address(), wire::Codec::kJson);
    }

    ~ServingFixture() {
        native_.reset();
        json_.reset();
        serving_->stop(Serving::Ending::kRoleChange);
        static_cast<void>(store_->close());
        serving_seen_ = nullptr;
        serving_.reset();
    }

    ServingFixture(const ServingFixture&) = delete;
    ServingFixture& operator=(const ServingFixture&) = delete;

    std::string address() const { return place_->address().text; }

    RpcClient& native() { return *native_; }

    RpcClient& json() { return *json_; }

    storage::Store& store() { return *store_; }

    LogOffset end() { return store_->watermarks().appended; }

    /// Every copy has everything.
    void confirm_all() {
        store_->replica().confirm(end());
        tell_progress();
    }

    /// Something of the replica has changed.
    void tell_progress() {
        if (Serving* const serving = serving_seen_.load()) {
            serving->on_store_progress();
        }
    }

    /// The answer, with everything confirmed until it has come.
    Answer confirmed(std::future<Answer> answer) {
        static_cast<void>(harness::wait_until(std::chrono::seconds(10), [&] {
            confirm_all();
            return answer.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready;
        }));
        return answer.get();
    }

    /// A topic whose sends wait as `replication` says: sync, async or empty.
    ResponseCode create_topic(const std::string& topic, const std::string& replication = {}) {
        wire::CreateTopicRequest fields;
        fields.set_topic(topic);
        fields.set_readqueuenums(2);
        fields.set_writequeuenums(2);
        fields.set_perm(6);
        fields.set_defaulttopic("TBW102");
        fields.set_topicfiltertype("SINGLE_TAG");
        if (!replication.empty()) {
            fields.set_attributes("+replication=" + replication);
        }
        return confirmed(native_->start(RequestCode::kUpdateAndCreateTopic, &fields)).code;
    }

    /// A send whose answer may take its time.
    std::future<Answer> start_send(const std::string& topic, const std::string& body) {
        wire::SendRecordsRequest fields;
        fields.set_topic(topic);
        fields.set_queueid(0);
        fields.set_count(1);
        return native_->start(RequestCode::kSendRecords, &fields, records(topic, 0, {{body}}));
    }

    std::future<Answer> start_stock_send(const std::string& topic, const std::string& body) {
        const wire::SendMessageRequest fields = stock_send(topic, 0);
        return json_->start(RequestCode::kSendMessage, &fields, body);
    }

    BrokerOptions options;
    FakeReplica replica;

private:
    template <class T>
    static T sure(Result<T> result) {
        if (!result) {
            throw std::runtime_error(to_string(result.error()));
        }
        return std::move(result).value();
    }

    harness::TempDirectory directory_;
    SystemClock clock_;
    std::unique_ptr<FileSystem> files_ = make_posix_file_system();
    MetricRegistry metrics_;
    std::unique_ptr<ClientPort> place_;
    std::unique_ptr<storage::Store> store_;
    std::unique_ptr<Serving> serving_;
    std::atomic<Serving*> serving_seen_{nullptr};
    std::unique_ptr<RpcClient> native_;
    std::unique_ptr<RpcClient> json_;
};

}  // namespace gantry::broker
