// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/retry/backoff.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <ostream>
#include <utility>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : ",") + word;
    }
    return text;
}

Status list(Session& session, const Given&, const Arguments&) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto groups, admin->list_groups());
    Table table({"GROUP", "MEMBERS", "LAG", "TOPICS"});
    ordered_json json = ordered_json::array();
    for (const auto& group : groups) {
        table.add({group.group,
                   std::to_string(group.members),
                   std::to_string(group.lag),
                   joined(group.topics)});
        json.push_back({{"group", group.group},
                        {"members", group.members},
                        {"lag", group.lag},
                        {"topics", group.topics}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

ordered_json json_of(const std::string& group, const client::GroupStatus& status) {
    ordered_json json = {{"group", group}, {"members", ordered_json::array()}};
    for (const auto& member : status.members) {
        json["members"].push_back({{"client_id", member.client_id},
                                   {"address", member.address},
                                   {"language", member.language},
                                   {"version", member.version}});
    }
    json["subscriptions"] = status.subscriptions;
    json["queues"] = ordered_json::array();
    std::int64_t lag = 0;
    for (const auto& queue : status.queues) {
        lag += queue.broker_offset - queue.consumer_offset;
        json["queues"].push_back({{"topic", queue.queue.topic},
                                  {"broker", queue.queue.broker},
                                  {"queue", queue.queue.queue},
                                  {"broker_offset", queue.broker_offset},
                                  {"consumer_offset", queue.consumer_offset},
                                  {"lag", queue.broker_offset - queue.consumer_offset},
                                  {"last_ms", queue.last_ms},
                                  {"owner", queue.owner},
                                  {"generation", queue.token},
                                  {"is_moving", queue.is_moving}});
    }
    json["lag"] = lag;
    return json;
}

ordered_json json_of(const client::GroupSettings& settings) {
    return {{"retry_max", settings.retry_max}, {"backoff", backoff_text(settings.backoff)}};
}

Status describe(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto status, admin->describe_group(arguments[0]));
    // A group that only ever committed offsets has none.
    const auto settings = admin->group_settings(arguments[0]);
    if (!settings && settings.error().code != Errc::kNotFound) {
        return settings.error();
    }
    if (session.json()) {
        ordered_json json = json_of(arguments[0], status);
        if (settings) {
            json["retry"] = json_of(*settings);
            json["out_of_range"] = name_of(settings->out_of_range);
        }
        session.print(json);
        return ok();
    }
    if (settings) {
        Table retry({"RETRY MAX", "BACKOFF", "OUT OF RANGE"});
        retry.add({std::to_string(settings->retry_max),
                   backoff_text(settings->backoff),
                   std::string(name_of(settings->out_of_range))});
        session.streams().out << retry.text() << '\n';
    }
    Table members({"CLIENT", "ADDRESS", "LANGUAGE", "VERSION"});
    for (const auto& member : status.members) {
        members.add(
            {member.client_id, member.address, member.language, std::to_string(member.version)});
    }
    Table queues({"TOPIC",
                  "BROKER",
                  "QUEUE",
                  "END",
                  "COMMITTED",
                  "LAG",
                  "LAST CONSUMED (UTC)",
                  "OWNER",
                  "GENERATION"});
    for (const auto& queue : status.queues) {
        queues.add({queue.queue.topic,
                    queue.queue.broker,
                    std::to_string(queue.queue.queue),
                    std::to_string(queue.broker_offset),
                    std::to_string(queue.consumer_offset),
                    std::to_string(queue.broker_offset - queue.consumer_offset),
                    time_text(queue.last_ms),
                    queue.is_moving ? queue.owner + " (moving)" : queue.owner,
                    queue.token == 0 ? std::string() : std::to_string(queue.token)});
    }
    session.streams().out << members.text() << '\n' << queues.text();
    return ok();
}

void add_set_options(Options& options) {
    options.add_options()(
        "retry-max", "sent back so often, a message becomes a dead letter", value<std::int32_t>())(
        "backoff",
        "wait before each retry: default, 10s,1m,5m or exponential:5s,2h,2",
        value<std::string>())("out-of-range",
                              "an offset that does not exist goes: nearest, earliest, latest, fail",
                              value<std::string>());
}

Result<client::OutOfRangePolicy> policy_of(const std::string& name) {
    using Policy = client::OutOfRangePolicy;
    for (const Policy policy :
         {Policy::kNearest, Policy::kEarliest, Policy::kLatest, Policy::kFail}) {
        if (name == client::name_of(policy)) {
            return policy;
        }
    }
    return Error{Errc::kRefused,
                 "--out-of-range \"" + name + "\" is none of nearest, earliest, latest, fail"};
}

Status set(Session& session, const Given& given, const Arguments& arguments) {
    if (given.count("retry-max") + given.count("backoff") + given.count("out-of-range") == 0) {
        return Error{Errc::kRefused, "group set needs --retry-max, --backoff or --out-of-range"};
    }
    client::GroupSettings wanted;
    wanted.group = arguments[0];
    client::RetryBackoff backoff;
    if (given.count("backoff") != 0) {
        GANTRY_ASSIGN_OR_RETURN(backoff, parse_backoff(given["backoff"].as<std::string>()));
    }
    client::OutOfRangePolicy policy{};
    if (given.count("out-of-range") != 0) {
        GANTRY_ASSIGN_OR_RETURN(policy, policy_of(given["out-of-range"].as<std::string>()));
    }
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    auto settings = admin->group_settings(arguments[0]);
    if (settings) {
        wanted = std::move(settings).value();
    } else if (settings.error().code != Errc::kNotFound) {
        return settings.error();
    }
    if (given.count("retry-max") != 0) {
        wanted.retry_max = given["retry-max"].as<std::int32_t>();
    }
    if (given.count("backoff") != 0) {
        wanted.backoff = std::move(backoff);
    }
    if (given.count("out-of-range") != 0) {
        wanted.out_of_range = policy;
    }
    GANTRY_TRY(admin->set_group(wanted));
    if (session.json()) {
        session.print({{"group", wanted.group},
                       {"retry", json_of(wanted)},
                       {"out_of_range", name_of(wanted.out_of_range)}});
    } else {
        session.streams().out << wanted.group << ": retry max " << wanted.retry_max << ", backoff "
                              << backoff_text(wanted.backoff) << ", out of range "
                              << name_of(wanted.out_of_range) << '\n';
    }
    return ok();
}

}  // namespace

std::vector<Command> group_commands() {
    return {
        {"group", "list", "", "consumer groups with members and lag", 0, 0, nullptr, list},
        {"group",
         "describe",
         "GROUP",
         "members, subscriptions, progress, retries",
         1,
         1,
         nullptr,
         describe},
        {"group",
         "set",
         "GROUP",
         "retries of failed messages, offsets out of range",
         1,
         1,
         add_set_options,
         set},
    };
}

}  // namespace gantry::cli
