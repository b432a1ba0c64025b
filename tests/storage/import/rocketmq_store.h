// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/bytes.h"
#include "common/ids.h"
#include "protocol/wire/record.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gantry::storage {

/// A message as RocketMQ's broker stores it.
struct RocketMessage {
    std::string topic;
    std::int32_t queue_id = 0;
    std::string body;
    std::string properties{};
    std::int32_t sys_flag = 0;
    bool is_v6 = false;
    std::optional<std::int64_t> queue_offset{};  ///< the queue's next one when not given
    WallMs store_ms = 0;                         ///< counts up when 0
};

/// Makes the store of a RocketMQ broker, byte for byte as a broker leaves it: log with blanks and
/// preallocated zeros, consume queues, config files as fastjson writes them.
class RocketMqStore {
public:
    explicit RocketMqStore(std::filesystem::path directory, std::uint64_t segment_bytes = 16 << 10)
        : directory_(std::move(directory)), segment_bytes_(segment_bytes) {}

    /// Appends; returns where.
    LogOffset put(const RocketMessage& message);
    /// What a deletion of a topic does: its consume queues go, its records stay.
    void delete_topic(const std::string& topic);

    /// What retention does: whole segments below `first` go.
    void expire(std::uint64_t segments) { expired_segments_ = segments; }

    void set_config(const std::string& name, const std::string& text) { config_[name] = text; }

    /// Lists a topic in topics.json, a group in subscriptionGroup.json.
    void define_topic(const std::string& topic, int queues, int perm = 6);
    void define_group(const std::string& group, int retries_max);
    void commit(const std::string& group, const std::string& topic, int queue, std::int64_t at);

    void commit_delay(int level, std::int64_t at) { delays_[level] = at; }

    /// Writes everything; `strict`: config as JSON has it, else as fastjson writes it.
    void write(bool strict = false) const;

    /// Changes a byte of a written log.
    void flip(LogOffset at) const;

    std::filesystem::path segment_path(LogOffset at) const;

    LogOffset end() const { return LogOffset(static_cast<std::int64_t>(log_.size())); }

    std::string log_bytes(LogOffset at, std::size_t bytes) const {
        return std::string(log_, static_cast<std::size_t>(at.value), bytes);
    }

private:
    using QueueName = std::pair<std::string, std::int32_t>;

    void write_log() const;
    void write_queues() const;
    std::string topics_json(const char* quote) const;
    std::string offsets_json(const char* quote) const;

    std::filesystem::path directory_;
    std::uint64_t segment_bytes_;
    std::uint64_t expired_segments_ = 0;
    std::string log_;  ///< from log offset 0
    WallMs clock_ = 1'700'000'000'000;
    std::map<QueueName, std::int64_t> next_;
    std::map<QueueName, std::string> units_;  ///< of a queue, from queue offset 0
    std::map<std::string, std::string> config_;
    std::map<std::string, std::pair<int, int>> topics_;  ///< queues, perm
    std::map<std::string, int> groups_;
    std::map<std::string, std::map<int, std::int64_t>> offsets_;  ///< by topic@group
    std::map<int, std::int64_t> delays_;
};

/// "name 0x01 value 0x02" of each pair.
std::string rocket_properties(const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace gantry::storage
