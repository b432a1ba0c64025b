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

/// One record of the log, as its writer remembers it.
struct LoggedEvent {
    /// What the record says.
    enum class Kind { kMessage, kTopicPut, kTopicDelete, kGroupPut, kGroupDelete, kOffsetPut };

    Kind kind = Kind::kMessage;
    LogOffset at;           ///< of a message
    LogOffset end;          ///< of the record
    bool has_more = false;  ///< further records of its frame follow
    std::string topic{};
    std::string group{};
    std::int32_t queue = 0;
    std::int64_t value = 0;  ///< committed offset, or retries of a group
    TestMessage message{};
};

using LoggedEvents = std::vector<LoggedEvent>;

/// What a store whose log ends somewhere holds.
struct ExpectedStore {
    /// Folds the events whose records end at or below `end`.
    ExpectedStore(const LoggedEvents& events, LogOffset end);

    std::map<std::string, std::map<std::int32_t, std::vector<const LoggedEvent*>>> topics;
    std::map<std::string, std::int64_t> groups;
    std::map<std::tuple<std::string, std::string, std::int32_t>, std::int64_t> offsets;
};

/// Requires that the store of `at` is what `events` say for the end of its log: topics, groups and
/// offsets, every record of every queue byte by byte and in order, every key.
void require_expected(StoreFixture& at, const LoggedEvents& events);

/// Random operations on a store, remembered.
class StoreWorkload {
public:
    /// Goes on behind `events`, which the open store of `at` holds.
    StoreWorkload(StoreFixture& at, Random& random, LoggedEvents events);

    /// Messages mostly; now and then a topic, a group, an offset, a flush.
    void step();
    void append(const std::string& topic, std::int32_t queue, std::uint32_t body_bytes);
    void put_topic(const std::string& topic);
    void delete_topic(const std::string& topic);
    /// Waits until everything appended is durable.
    void flush();

    const LoggedEvents& events() const { return events_; }

private:
    void append_some();
    void change_group();
    void commit_offset();
    void commit(const wire::StateRecord& changes, LoggedEvent event);
    std::string living_topic();

    StoreFixture& at_;
    Random& random_;
    LoggedEvents events_;
    std::uint32_t next_number_ = 0;
};

}  // namespace gantry::storage
