// SPDX-License-Identifier: Apache-2.0
#include "tests/storage/import/rocketmq_store.h"

#include "protocol/wire/properties.h"
#include "storage/log/segment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUnitBytes = 20;
constexpr std::size_t kUnitsPerFile = 50;

std::byte* bytes_of(std::string& text) {
    return reinterpret_cast<std::byte*>(text.data());
}

void write_text(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file << text;
    REQUIRE(file.good());
}

std::string join(const std::vector<std::string>& parts) {
    std::string all;
    for (const std::string& part : parts) {
        all += (all.empty() ? "\n\t\t" : ",\n\t\t") + part;
    }
    return all;
}

}  // namespace

std::string rocket_properties(const std::vector<std::pair<std::string, std::string>>& pairs) {
    std::string properties;
    for (const auto& [name, value] : pairs) {
        properties += name + wire::kNameValueSeparator + value + wire::kPropertySeparator;
    }
    return properties;
}

LogOffset RocketMqStore::put(const RocketMessage& message) {
    const QueueName name{message.topic, message.queue_id};
    std::int64_t& next = next_[name];
    wire::Record record;
    record.queue_id = message.queue_id;
    record.queue_offset = QueueOffset(message.queue_offset.value_or(next));
    record.sys_flag = message.sys_flag;
    record.born_ms = record.store_ms = message.store_ms != 0 ? message.store_ms : ++clock_;
    const char* const host = message.is_v6 ? "[fd00::1]:10911" : "10.0.0.1:10911";
    record.born_host = record.store_host = wire::parse_host(host).value();
    record.body = as_bytes(message.body);
    record.topic = message.topic;
    record.properties = message.properties;
    const std::size_t bytes = wire::record_bytes(record);
    REQUIRE(bytes + wire::kBlankBytes <= segment_bytes_);
    const std::uint64_t room = segment_bytes_ - log_.size() % segment_bytes_;
    if (bytes + wire::kBlankBytes > room) {
        const std::size_t blank = log_.size();
        log_.resize(blank + room, '\x7f');
        store_be(bytes_of(log_) + blank, static_cast<std::uint32_t>(room));
        store_be(bytes_of(log_) + blank + 4, wire::kMagicBlank);
    }
    const LogOffset at = end();
    record.log_offset = at;
    log_.resize(log_.size() + bytes);
    wire::encode_record(record, {bytes_of(log_) + at.value, bytes});
    const std::int32_t kind = message.sys_flag & wire::sys_flag::kTransactionMask;
    if (kind == wire::sys_flag::kTransactionPrepared ||
        kind == wire::sys_flag::kTransactionRollback) {
        return at;
    }
    next = record.queue_offset.value + 1;
    std::string& units = units_[name];
    units.resize(static_cast<std::size_t>(next) * kUnitBytes);
    std::byte* const unit = bytes_of(units) + units.size() - kUnitBytes;
    store_be(unit, at.value);
    store_be(unit + 8, static_cast<std::int32_t>(bytes));
    store_be(unit + 12,
             wire::tag_hash(wire::find_property(message.properties, wire::property::kTags)));
    return at;
}

void RocketMqStore::delete_topic(const std::string& topic) {
    topics_.erase(topic);
    std::erase_if(next_, [&topic](const auto& queue) { return queue.first.first == topic; });
    std::erase_if(units_, [&topic](const auto& queue) { return queue.first.first == topic; });
}

void RocketMqStore::define_topic(const std::string& topic, int queues, int perm) {
    topics_[topic] = {queues, perm};
}

void RocketMqStore::define_group(const std::string& group, int retries_max) {
    groups_[group] = retries_max;
}

void RocketMqStore::commit(const std::string& group,
                           const std::string& topic,
                           int queue,
                           std::int64_t at) {
    offsets_[topic + '@' + group][queue] = at;
}

fs::path RocketMqStore::segment_path(LogOffset at) const {
    const auto base = static_cast<std::uint64_t>(at.value) / segment_bytes_ * segment_bytes_;
    return directory_ / "commitlog" / segment_name(LogOffset(static_cast<std::int64_t>(base)));
}

void RocketMqStore::write_log() const {
    for (std::uint64_t base = expired_segments_ * segment_bytes_; base < log_.size();
         base += segment_bytes_) {
        std::string segment = log_.substr(base, segment_bytes_);
        segment.resize(segment_bytes_);
        write_text(segment_path(LogOffset(static_cast<std::int64_t>(base))), segment);
    }
    // The next file is made ahead.
    const std::uint64_t next = (log_.size() / segment_bytes_ + 1) * segment_bytes_;
    write_text(segment_path(LogOffset(static_cast<std::int64_t>(next))),
               std::string(segment_bytes_, '\0'));
}

void RocketMqStore::write_queues() const {
    for (const auto& [name, units] : units_) {
        const fs::path directory =
            directory_ / "consumequeue" / name.first / std::to_string(name.second);
        constexpr std::size_t kFileBytes = kUnitsPerFile * kUnitBytes;
        for (std::size_t base = 0; base < units.size(); base += kFileBytes) {
            std::string file = units.substr(base, kFileBytes);
            file.resize(kFileBytes);
            write_text(directory / segment_name(LogOffset(static_cast<std::int64_t>(base))), file);
        }
    }
}

std::string RocketMqStore::topics_json(const char* quote) const {
    std::vector<std::string> entries;
    for (const auto& [topic, definition] : topics_) {
        const std::string queues = std::to_string(definition.first);
        entries.push_back("\"" + topic + "\":{\"order\":false,\"perm\":" +
                          std::to_string(definition.second) + ",\"readQueueNums\":" + queues +
                          ",\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"" + topic +
                          "\",\"topicSysFlag\":0,\"writeQueueNums\":" + queues + "}");
    }
    return std::string("{\n\t") + quote + "dataVersion" + quote +
           ":{\"counter\":1},\n\t\"topicConfigTable\":{" + join(entries) + "\n\t}\n}";
}

std::string RocketMqStore::offsets_json(const char* quote) const {
    std::vector<std::string> entries;
    for (const auto& [name, queues] : offsets_) {
        std::string map;
        for (const auto& [queue, at] : queues) {
            map += (map.empty() ? "" : ",") + std::string(quote) + std::to_string(queue) + quote +
                   ':' + std::to_string(at);
        }
        entries.push_back("\"" + name + "\":{" + map + "\n\t\t}");
    }
    return "{\n\t\"offsetTable\":{" + join(entries) + "\n\t}\n}";
}

void RocketMqStore::write(bool strict) const {
    const char* const quote = strict ? "\"" : "";
    write_log();
    write_queues();
    const fs::path config = directory_ / "config";
    write_text(config / "topics.json", topics_json(quote));
    write_text(config / "consumerOffset.json", offsets_json(quote));
    std::vector<std::string> groups;
    for (const auto& [group, retries_max] : groups_) {
        groups.push_back("\"" + group + "\":{\"consumeEnable\":true,\"groupName\":\"" + group +
                         "\",\"retryMaxTimes\":" + std::to_string(retries_max) +
                         ",\"retryQueueNums\":1}");
    }
    write_text(config / "subscriptionGroup.json",
               "{\"subscriptionGroupTable\":{" + join(groups) + "}}");
    if (!delays_.empty()) {
        std::string levels;
        for (const auto& [level, at] : delays_) {
            levels += (levels.empty() ? "" : ",") + std::string(quote) + std::to_string(level) +
                      quote + ':' + std::to_string(at);
        }
        write_text(config / "delayOffset.json", "{\n\t\"offsetTable\":{" + levels + "\n\t}\n}");
    }
    for (const auto& [name, text] : config_) {
        write_text(config / name, text);
    }
    write_text(directory_ / "lock", "lock");
}

void RocketMqStore::flip(LogOffset at) const {
    std::fstream file(segment_path(at), std::ios::binary | std::ios::in | std::ios::out);
    const auto position =
        static_cast<std::streamoff>(static_cast<std::uint64_t>(at.value) % segment_bytes_);
    file.seekg(position);
    const int was = file.get();
    file.seekp(position);
    file.put(static_cast<char>(was ^ 1));
    REQUIRE(file.good());
}

}  // namespace gantry::storage
