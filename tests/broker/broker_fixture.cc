// SPDX-License-Identifier: Apache-2.0
#include "tests/broker/broker_fixture.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <utility>

namespace gantry::broker {

BrokerFixture::BrokerFixture(const std::function<void(BrokerOptions&)>& adjust,
                             std::unique_ptr<FileSystem> files)
    : files_(std::move(files)) {
    options_.base.listen_address = "127.0.0.1";
    options_.base.listen_port = 0;
    options_.base.http_port = 0;
    options_.store_directory = directory_.path() / "store";
    options_.store_segment_bytes = std::int64_t{16} << 20;
    options_.store_prefault_bytes = std::int64_t{1} << 20;
    options_.store_free_bytes_min = 0;
    if (adjust) {
        adjust(options_);
    }
    start();
}

void BrokerFixture::start() {
    Result<std::unique_ptr<Broker>> started = Broker::start(options_, clock_, *files_);
    if (!started) {
        throw std::runtime_error(to_string(started.error()));
    }
    broker_ = std::move(started).value();
    native_ = std::make_unique<RpcClient>(address(), wire::Codec::kNative);
    json_ = std::make_unique<RpcClient>(address(), wire::Codec::kJson);
    binary_ = std::make_unique<RpcClient>(address(), wire::Codec::kBinary);
}

void BrokerFixture::restart() {
    broker_.reset();
    start();
}

ResponseCode BrokerFixture::create_topic(const std::string& topic,
                                         std::int32_t queues,
                                         std::int32_t perm) {
    return harness::create_topic(*native_, topic, queues, perm).code;
}

wire::Record first_record(const std::string& keep) {
    const Result<wire::Record> record = wire::parse_record(as_bytes(keep));
    REQUIRE(record);
    return *record;
}

}  // namespace gantry::broker
