// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/broker/broker_fixture.h"
#include "tests/harness/wait.h"
#include "tests/storage/faulty_file_system.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <utility>

namespace gantry::broker {

/// A broker with sync flush on a disk whose syncs can be held, and a topic "T".
class OnSlowDisk {
public:
    explicit OnSlowDisk(const std::function<void(BrokerOptions&)>& adjust = {})
        : OnSlowDisk(adjust, std::make_unique<storage::FaultyFileSystem>()) {}

    ~OnSlowDisk() { disk.let_go(kAll); }

    OnSlowDisk(const OnSlowDisk&) = delete;
    OnSlowDisk& operator=(const OnSlowDisk&) = delete;

    static constexpr std::uint64_t kAll = 1'000'000;

    /// Whether that many answers come to wait until what they tell is durable.
    bool come_to_wait(double count) {
        return harness::wait_until(harness::RpcClient::kPatience, [&] {
            return f.broker().metrics().values()["gantry_broker_pending_acks"] == count;
        });
    }

    storage::FaultyFileSystem& disk;
    BrokerFixture f;

private:
    OnSlowDisk(const std::function<void(BrokerOptions&)>& adjust,
               std::unique_ptr<storage::FaultyFileSystem> files)
        : disk(*files),
          f(
              [&](BrokerOptions& options) {
                  options.store_flush = "sync";
                  if (adjust) {
                      adjust(options);
                  }
              },
              std::move(files)) {
        REQUIRE(f.create_topic("T") == ResponseCode::kSuccess);
    }
};

inline bool is_answered(const std::future<Answer>& answer) {
    return answer.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready;
}

}  // namespace gantry::broker
