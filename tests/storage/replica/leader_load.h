// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/random.h"
#include "tests/storage/store_fixture.h"

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace gantry::storage {

/// Everything that a broker appends, at random: messages with keys, in batches, numbered ones,
/// transactions, delayed messages and their delivery, topics made and deleted, groups, offsets,
/// pops, locks of queues.
class LeaderLoad {
public:
    LeaderLoad(StoreFixture& at, Random& random)
        : at_(at), random_(random), producers_(random.next() | 1U) {}

    /// The store of `at` was opened.
    void opened();
    void step();
    void steps(std::size_t count);
    /// Writes what is known of pops, so that the log says all.
    void settle();

private:
    void send();
    void send_numbered();
    void open_half();
    void end_half();
    void delay();
    void deliver();
    void put_topic();
    void delete_topic();
    void put_group();
    void commit_offset();
    void pop();
    void lock_queue();

    std::string topic();
    Queue& wheel();
    void commit(const wire::StateRecord& changes);
    std::vector<TestMessage> messages(std::size_t count_max, std::size_t bytes_max);

    StoreFixture& at_;
    Random& random_;
    const std::uint64_t producers_;  ///< number of the first one
    std::size_t number_ = 0;
    std::int64_t token_ = 0;
    WallMs now_ = 1'700'000'000'000;
    std::vector<LogOffset> halves_;
    std::map<std::tuple<std::uint64_t, std::string, int>, std::int64_t> sequences_;
};

}  // namespace gantry::storage
