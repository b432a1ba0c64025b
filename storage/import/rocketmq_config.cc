// SPDX-License-Identifier: Apache-2.0
#include "storage/import/rocketmq_config.h"

#include "protocol/wire/codec/json_body_reader.h"
#include "protocol/wire/codec/json_tolerance.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <functional>
#include <optional>
#include <utility>

namespace gantry::storage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kFileBytesMax = std::uint64_t{512} << 20U;

/// A file of the folder as text and as JSON.
struct Loaded {
    std::string text;
    json value;
};

class ConfigReader {
public:
    ConfigReader(FileSystem& files, fs::path directory)
        : files_(files), directory_(std::move(directory)) {}

    Result<RocketMqConfig> run();

private:
    Result<std::optional<Loaded>> load(const std::string& name, bool is_needed);
    Result<Loaded> parse(const fs::path& path);
    Status take_topics();
    Status take_groups();
    Status take_offsets();
    Status take_delay_offsets();
    Status note_others();
    void take_offset(const std::string& key, const json& queues);
    void note_attributes(const json& table, const std::string& kind);

    FileSystem& files_;
    const fs::path directory_;
    RocketMqConfig config_;
};

template <class Int>
std::optional<Int> integer(std::string_view text) {
    Int value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

Result<Loaded> ConfigReader::parse(const fs::path& path) {
    Loaded loaded;
    GANTRY_ASSIGN_OR_RETURN(loaded.text, read_file(files_, path, kFileBytesMax));
    GANTRY_ASSIGN_OR_RETURN(const std::string strict, wire::strict_json(loaded.text));
    loaded.value = json::parse(strict, nullptr, false);
    if (!loaded.value.is_object()) {
        return Error{Errc::kCorrupt, loaded.text.empty() ? "is empty" : "is no JSON object"};
    }
    return loaded;
}

/// The file, or the copy of its former version. kIo only when the disk fails.
Result<std::optional<Loaded>> ConfigReader::load(const std::string& name, bool is_needed) {
    std::string reason;
    for (const std::string& version : {name, name + ".bak"}) {
        Result<Loaded> loaded = parse(directory_ / version);
        if (loaded) {
            if (!reason.empty()) {
                config_.warnings.push_back({name, 1, reason + ": " + version + " is used"});
            }
            return std::optional<Loaded>(std::move(loaded).value());
        }
        if (loaded.error().code == Errc::kIo) {
            return std::move(loaded).error();
        }
        if (loaded.error().code != Errc::kNotFound) {
            reason += (reason.empty() ? "" : ", ") + version + ' ' + loaded.error().detail;
        } else if (is_needed) {
            reason += (reason.empty() ? "" : ", ") + version + " is missing";
        }
    }
    if (!reason.empty()) {
        config_.warnings.push_back({name, 1, reason});
    }
    return std::optional<Loaded>();
}

/// Settings in `attributes` and a few fields that have no meaning here.
void ConfigReader::note_attributes(const json& table, const std::string& kind) {
    if (!table.is_object()) {
        return;
    }
    for (const auto& [name, entry] : table.items()) {
        const auto attributes = entry.find("attributes");
        if (attributes != entry.end() && attributes->is_object() && !attributes->empty()) {
            config_.not_carried.push_back({"attributes of " + kind + ' ' + name,
                                           attributes->size(),
                                           attributes->dump() + " have no meaning here"});
        }
        const auto orderly = entry.find("consumeMessageOrderly");
        if (orderly != entry.end() && orderly->is_boolean() && orderly->get<bool>()) {
            config_.not_carried.push_back(
                {"consumeMessageOrderly of " + kind + ' ' + name, 1, "pop consumers only"});
        }
    }
}

Status ConfigReader::take_topics() {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Loaded> loaded, load("topics.json", true));
    if (!loaded) {
        return ok();
    }
    wire::TopicConfigTable table;
    if (const Status read = wire::read_json_body(loaded->text, table); !read) {
        config_.warnings.push_back({"topics.json", 1, read.error().detail});
        return ok();
    }
    for (const auto& [name, topic] : table.topicconfigtable()) {
        wire::TopicConfig& put = config_.topics[name] = topic;
        put.set_topicname(name);
    }
    note_attributes(loaded->value.value("topicConfigTable", json::object()), "topic");
    config_.has_topics = true;
    return ok();
}

Status ConfigReader::take_groups() {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Loaded> loaded,
                            load("subscriptionGroup.json", true));
    if (!loaded) {
        return ok();
    }
    wire::SubscriptionGroupTable table;
    if (const Status read = wire::read_json_body(loaded->text, table); !read) {
        config_.warnings.push_back({"subscriptionGroup.json", 1, read.error().detail});
        return ok();
    }
    for (const auto& [name, group] : table.subscriptiongrouptable()) {
        wire::SubscriptionGroupConfig& put = config_.groups[name] = group;
        put.set_groupname(name);
    }
    note_attributes(loaded->value.value("subscriptionGroupTable", json::object()), "group");
    const json forbidden = loaded->value.value("forbiddenTable", json::object());
    if (forbidden.is_object() && !forbidden.empty()) {
        config_.not_carried.push_back(
            {"forbiddenTable", forbidden.size(), "groups cannot be forbidden single topics"});
    }
    return ok();
}

void ConfigReader::take_offset(const std::string& key, const json& queues) {
    const std::size_t at = key.rfind('@');
    std::uint64_t bad = 0;
    if (at == std::string::npos || at == 0 || at + 1 == key.size() || !queues.is_object()) {
        config_.not_carried.push_back(
            {"consumerOffset.json: " + key, 1, "is not topic@group with a queue map"});
        return;
    }
    for (const auto& [queue, offset] : queues.items()) {
        const auto queue_id = integer<std::int32_t>(queue);
        if (!queue_id || !offset.is_number_integer()) {
            ++bad;
            continue;
        }
        wire::OffsetPut put;
        put.set_topic(key.substr(0, at));
        put.set_group(key.substr(at + 1));
        put.set_queueid(*queue_id);
        put.set_offset(offset.get<std::int64_t>());
        config_.offsets.push_back(std::move(put));
    }
    if (bad > 0) {
        config_.not_carried.push_back(
            {"consumerOffset.json: " + key, bad, "a queue id or an offset is no integer"});
    }
}

Status ConfigReader::take_offsets() {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Loaded> loaded, load("consumerOffset.json", true));
    if (!loaded) {
        return ok();
    }
    const json table = loaded->value.value("offsetTable", json::object());
    for (const auto& [key, queues] : table.items()) {
        take_offset(key, queues);
    }
    return ok();
}

Status ConfigReader::take_delay_offsets() {
    GANTRY_ASSIGN_OR_RETURN(const std::optional<Loaded> loaded, load("delayOffset.json", false));
    if (!loaded) {
        return ok();
    }
    const json table = loaded->value.value("offsetTable", json::object());
    for (const auto& [text, offset] : table.items()) {
        const auto level = integer<std::int32_t>(text);
        if (!level || *level < 1 || !offset.is_number_integer()) {
            config_.warnings.push_back({"delayOffset.json: level " + text, 1, "is no number"});
            continue;
        }
        config_.delay_offsets[*level] = offset.get<std::int64_t>();
    }
    config_.has_delay_offsets = true;
    return ok();
}

/// Files of features that Gantry has not, when there is something in them.
Status ConfigReader::note_others() {
    struct Other {
        const char* file;
        const char* table;
        const char* why;
    };

    constexpr Other kOthers[] = {
        {"consumerFilter.json", "filterDataByTopic", "consumers register their filters again"},
        {"topicQueueMapping.json", "topicQueueMappingInfoMap", "static topics are not known here"},
        {"messageRequestMode.json", "messageRequestModeMap", "pop consumption is not known here"},
        {"consumerOrderInfo.json", "table", "state of ordered pop consumers"},
        {"lmqConsumerOffset.json", "lmqOffsetTable", "light message queues are not known here"},
    };
    for (const Other& other : kOthers) {
        GANTRY_ASSIGN_OR_RETURN(const std::optional<Loaded> loaded, load(other.file, false));
        if (!loaded) {
            continue;
        }
        const auto table = loaded->value.find(other.table);
        if (table != loaded->value.end() && table->is_object() && !table->empty()) {
            config_.not_carried.push_back({other.file, table->size(), other.why});
        }
    }
    return ok();
}

Result<RocketMqConfig> ConfigReader::run() {
    GANTRY_TRY(take_topics());
    GANTRY_TRY(take_groups());
    GANTRY_TRY(take_offsets());
    GANTRY_TRY(take_delay_offsets());
    GANTRY_TRY(note_others());
    return std::move(config_);
}

}  // namespace

Result<RocketMqConfig> load_rocketmq_config(FileSystem& files, const fs::path& directory) {
    return ConfigReader(files, directory).run();
}

}  // namespace gantry::storage
