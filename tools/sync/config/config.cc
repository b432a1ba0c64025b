// SPDX-License-Identifier: Apache-2.0
#include "sync/config/config.h"

#include "protocol/net/socket.h"
#include "protocol/wire/names.h"
#include "sync/config/table_reader.h"
#include "sync/config/topic_growth.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

namespace gantry::sync {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20U;
constexpr std::string_view kTopicMark = "{topic}";
constexpr std::string_view kReplySuffix = "_REPLY_TOPIC";  // of each cluster's topic of replies

using Range = TableReader::Range;

constexpr Range kRates{0, INT64_MAX};
constexpr Range kFrameBytes{1024, 15 * kMiB};
constexpr Range kWindowBytes{64 << 10U, 60 * kMiB};
constexpr Range kPullBytes{64 << 10U, 8 * kMiB};
constexpr Range kParallelism{1, 64};
constexpr Range kTimeouts{100, 300'000};
constexpr Range kSeconds{1, 86'400};

Status read_filter(TableReader& table, client::MessageSelector& filter) {
    std::string tag;
    std::string sql;
    GANTRY_TRY(table.text("filter_tag", tag));
    GANTRY_TRY(table.text("filter_sql", sql));
    if (!tag.empty() && !sql.empty()) {
        return table.refused("filter_sql", "filter_tag is given, too: one of them");
    }
    if (!tag.empty()) {
        filter = client::MessageSelector::by_tag(tag);
    } else if (!sql.empty()) {
        filter = client::MessageSelector::by_sql(sql);
    }
    return ok();
}

Status read_start(TableReader& table, client::StartFrom& start) {
    using Kind = client::StartFrom::Kind;
    start.kind = Kind::kFirst;
    std::string text = "first";
    GANTRY_TRY(table.text("start", text));
    if (text == "last") {
        start.kind = Kind::kLast;
    } else if (text != "first") {
        GANTRY_ASSIGN_OR_RETURN(start.timestamp, table.time_of("start", text));
        start.kind = Kind::kTimestamp;
    }
    return ok();
}

Status read_compression(TableReader& table, client::Compression& compression) {
    using Method = client::Compression::Method;
    std::string method = "none";
    std::int64_t level = -1;
    GANTRY_TRY(table.choice("compression", {"none", "zlib", "lz4", "zstd"}, method));
    GANTRY_TRY(table.number("compression_level", {-1, 19}, level));
    compression.method = method == "zlib"   ? Method::kZlib
                         : method == "lz4"  ? Method::kLz4
                         : method == "zstd" ? Method::kZstd
                                            : Method::kNone;
    compression.level = static_cast<std::int32_t>(level);
    if (const Status fits_method = client::check_compression(compression); !fits_method) {
        return table.refused("compression_level", fits_method.error().detail);
    }
    return ok();
}

Status read_handling(TableReader& table, RouteConfig& route) {
    std::string queues = "same";
    std::string on_loss = "stop";
    GANTRY_TRY(table.choice("queues", {"same", "key"}, queues));
    GANTRY_TRY(table.choice("on_loss", {"stop", "continue"}, on_loss));
    route.queues = queues == "key" ? QueueMapping::kByKey : QueueMapping::kSame;
    route.on_loss = on_loss == "continue" ? OnLoss::kContinue : OnLoss::kStop;
    GANTRY_TRY(table.flag("create_topics", route.create_topics));
    GANTRY_TRY(table.flag("local_only", route.local_only));
    GANTRY_TRY(table.text("rename", route.rename));
    if (wire::check_topic_name(route.target_of("t"))) {
        return ok();
    }
    return table.refused("rename",
                         '"' + route.rename + "\" is no topic name, with or without {topic} in it");
}

Status read_limits(TableReader& table, RouteConfig& route) {
    GANTRY_TRY(table.number("bytes_per_second", kRates, route.bytes_per_second));
    GANTRY_TRY(table.number("messages_per_second", kRates, route.messages_per_second));
    GANTRY_TRY(table.number("parallelism", kParallelism, route.parallelism));
    GANTRY_TRY(table.number("frame_bytes", kFrameBytes, route.frame_bytes));
    GANTRY_TRY(table.number("window_bytes", kWindowBytes, route.window_bytes));
    GANTRY_TRY(table.number("pull_bytes", kPullBytes, route.pull_bytes));
    return table.number("timeout_ms", kTimeouts, route.timeout_ms);
}

/// A route's name is part of its groups' names.
Status check_name(TableReader& table, const std::string& name) {
    constexpr std::string_view kAround = "GANTRY_SYNC_-back-covered";
    constexpr std::size_t kMost = wire::kGroupNameBytesMax - kAround.size();
    const bool is_plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-';
    });
    if (is_plain && !name.empty() && name.size() <= kMost) {
        return ok();
    }
    return table.refused(
        "name",
        '"' + name + "\": allowed are letters, digits, _ and -, 1 to " + std::to_string(kMost));
}

Status check_cluster(TableReader& table,
                     std::string_view key,
                     const std::string& name,
                     const SyncConfig& config) {
    if (config.clusters.count(name) != 0) {
        return ok();
    }
    std::string known;
    for (const auto& [cluster, nameservers] : config.clusters) {
        known += (known.empty() ? "" : ", ") + cluster;
    }
    return table.refused(
        key,
        '"' + name + "\" is no cluster of this file; it has " + (known.empty() ? "none" : known));
}

Status check_ends(TableReader& table, const RouteConfig& route, const SyncConfig& config) {
    GANTRY_TRY(check_name(table, route.name));
    for (const std::string& group : route.mirror_groups) {
        if (const Status name = wire::check_group_name(group); !name) {
            return table.refused("mirror_groups", name.error().detail);
        }
    }
    GANTRY_TRY(check_cluster(table, "from", route.from, config));
    GANTRY_TRY(check_cluster(table, "to", route.to, config));
    if (route.from == route.to) {
        return table.refused("to", "\"" + route.to + "\" is the source, too");
    }
    if (route.topics.empty()) {
        return table.refused("topics", "missing: at least one name or pattern");
    }
    return ok();
}

/// The way back of a route with direction "both".
Result<RouteConfig> back_of(TableReader& table, const RouteConfig& route) {
    if (route.rename != kTopicMark) {
        return table.refused("direction", "\"both\" copies topics to their own name: no rename");
    }
    RouteConfig back = route;
    back.name += "-back";
    std::swap(back.from, back.to);
    back.text += "back";
    back.mirror_groups.clear();  // a group is at one site
    return back;
}

Status read_route(const toml::table& given, const std::string& source, SyncConfig& config) {
    TableReader table(given, source);
    RouteConfig route;
    std::string direction = "one-way";
    GANTRY_TRY(table.text("name", route.name));
    GANTRY_TRY(table.text("from", route.from));
    GANTRY_TRY(table.text("to", route.to));
    GANTRY_TRY(table.texts("topics", route.topics));
    GANTRY_TRY(table.texts("exclude", route.exclude));
    GANTRY_TRY(table.choice("direction", {"one-way", "both"}, direction));
    GANTRY_TRY(read_filter(table, route.filter));
    GANTRY_TRY(read_start(table, route.start));
    GANTRY_TRY(read_handling(table, route));
    GANTRY_TRY(read_compression(table, route.compression));
    GANTRY_TRY(read_limits(table, route));
    GANTRY_TRY(table.texts("mirror_groups", route.mirror_groups));
    GANTRY_TRY(table.number("mirror_seconds", kSeconds, route.mirror_seconds));
    GANTRY_TRY(table.nothing_else());
    GANTRY_TRY(check_ends(table, route, config));
    std::ostringstream text;
    text << given;
    for (const std::string& cluster : {route.from, route.to}) {
        const ClusterConfig& found = config.clusters.at(cluster);
        text << '\n' << cluster << ' ' << client::name_of(found.dialect);
        for (const std::string& address : found.nameservers) {
            text << ' ' << address;
        }
    }
    route.text = text.str();
    config.routes.push_back(route);
    if (direction == "both") {
        GANTRY_ASSIGN_OR_RETURN(RouteConfig back, back_of(table, route));
        config.routes.push_back(std::move(back));
    }
    return ok();
}

Status read_dialect(TableReader& table, client::Dialect& dialect) {
    using client::Dialect;
    std::string name(client::name_of(dialect));
    GANTRY_TRY(table.choice("dialect", {"gantry", "rocketmq", "detect"}, name));
    for (const Dialect one : {Dialect::kGantry, Dialect::kRocketMq, Dialect::kDetect}) {
        dialect = client::name_of(one) == name ? one : dialect;
    }
    return ok();
}

/// Whether each nameserver's address is one.
Status check_addresses(const TableReader& table, const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
        if (const auto parts = net::split_host_port(address); !parts) {
            return table.refused("nameservers", parts.error().detail);
        }
    }
    return ok();
}

Status read_clusters(const toml::table& given, const std::string& source, SyncConfig& config) {
    for (const auto& [name, node] : given) {
        if (!node.is_table()) {
            return Error{Errc::kRefused,
                         source + ": clusters." + std::string(name) + " is no table"};
        }
        TableReader table(*node.as_table(), source);
        ClusterConfig cluster;
        GANTRY_TRY(table.texts("nameservers", cluster.nameservers));
        GANTRY_TRY(read_dialect(table, cluster.dialect));
        GANTRY_TRY(table.nothing_else());
        if (cluster.nameservers.empty()) {
            return table.refused("nameservers", "at least one host:port");
        }
        GANTRY_TRY(check_addresses(table, cluster.nameservers));
        if (name.str().find_first_of(",/ ") != std::string_view::npos) {
            return table.refused(
                "nameservers",
                "the cluster's name \"" + std::string(name) + "\" has a comma, slash or blank");
        }
        config.clusters[std::string(name)] = std::move(cluster);
    }
    return ok();
}

Status read_all(const toml::table& given, const std::string& source, SyncConfig& config) {
    for (const auto& [key, node] : given) {
        const bool is_known = (key == "clusters" && node.is_table()) ||
                              (key == "routes" && node.is_array_of_tables());
        if (!is_known) {
            return Error{Errc::kRefused,
                         source + ":" + std::to_string(node.source().begin.line) + ": \"" +
                             std::string(key) + "\": allowed are [clusters.NAME] and [[routes]]"};
        }
    }
    if (const toml::table* clusters = given["clusters"].as_table(); clusters != nullptr) {
        GANTRY_TRY(read_clusters(*clusters, source, config));
    }
    if (const toml::array* routes = given["routes"].as_array(); routes != nullptr) {
        for (const toml::node& route : *routes) {
            GANTRY_TRY(read_route(*route.as_table(), source, config));
        }
    }
    std::set<std::string> names;
    for (const RouteConfig& route : config.routes) {
        if (!names.insert(route.name).second) {
            return Error{Errc::kRefused, source + ": two routes are named \"" + route.name + '"'};
        }
    }
    if (const auto growth = find_topic_growth(config.routes); growth) {
        return Error{Errc::kRefused, source + ": " + *growth};
    }
    return ok();
}

}  // namespace

std::string RouteConfig::target_of(std::string_view topic) const {
    std::string target = rename;
    if (const std::size_t at = target.find(kTopicMark); at != std::string::npos) {
        target.replace(at, kTopicMark.size(), topic);
    }
    return target;
}

bool RouteConfig::takes(std::string_view topic) const {
    const auto fits_topic = [topic](const std::string& pattern) { return fits(pattern, topic); };
    if (std::any_of(exclude.begin(), exclude.end(), fits_topic)) {
        return false;
    }
    const bool is_special =
        wire::is_system_topic(topic) || topic.starts_with('%') || topic.ends_with(kReplySuffix);
    return is_special ? std::find(topics.begin(), topics.end(), topic) != topics.end()
                      : std::any_of(topics.begin(), topics.end(), fits_topic);
}

Result<SyncConfig> parse_config(std::string_view text, const std::string& source) {
    SyncConfig config;
    try {
        GANTRY_TRY(read_all(toml::parse(text, source), source, config));
    } catch (const toml::parse_error& error) {
        return Error{Errc::kRefused,
                     source + ":" + std::to_string(error.source().begin.line) + ": " +
                         std::string(error.description())};
    }
    return config;
}

Result<SyncConfig> load_config(const std::string& path) {
    std::error_code not_there;
    if (std::filesystem::is_directory(path, not_there)) {
        return Error{Errc::kIo, path + ": is a folder"};
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        const Errc code = errno == ENOENT ? Errc::kNotFound : Errc::kIo;
        return Error{code, path + ": " + std::generic_category().message(errno)};
    }
    std::ostringstream text;
    text << file.rdbuf();
    if (file.bad()) {
        return Error{Errc::kIo, path + " cannot be read"};
    }
    return parse_config(text.str(), path);
}

bool fits(std::string_view pattern, std::string_view name) noexcept {
    std::size_t at = 0;
    std::size_t in = 0;
    std::size_t star = std::string_view::npos;
    std::size_t star_in = 0;
    while (in < name.size()) {
        if (at < pattern.size() && pattern[at] == '*') {
            star = at++;
            star_in = in;
        } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == name[in])) {
            ++at;
            ++in;
        } else if (star != std::string_view::npos) {
            at = star + 1;
            in = ++star_in;
        } else {
            return false;
        }
    }
    while (at < pattern.size() && pattern[at] == '*') {
        ++at;
    }
    return at == pattern.size();
}

}  // namespace gantry::sync
