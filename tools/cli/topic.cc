// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"

#include <nlohmann/json.hpp>

#include <ostream>
#include <tuple>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

void add_spec_options(Options& options) {
    options.add_options()("q,queues", "read and write queues", value<std::int32_t>())(
        "read-queues", "queues consumers use", value<std::int32_t>())(
        "write-queues", "queues producers use", value<std::int32_t>())(
        "perm", "r, w or rw", value<std::string>())(
        "retention-hours",
        "keep messages that long (0: for ever; default: the broker's)",
        value<std::string>())("retention-bytes",
                              "keep that many bytes of messages (0: all; default: the broker's)",
                              value<std::string>())(
        "until-consumed",
        "yes: keep messages until every group has consumed them; no, default",
        value<std::string>().implicit_value("yes"))(
        "replication",
        "sync: a send waits for every copy in sync; async; default: the broker's",
        value<std::string>())(
        "c,cluster", "when there are several", value<std::string>().default_value(""));
}

constexpr const char* kMs = "retention.ms";
constexpr const char* kBytes = "retention.bytes";
constexpr const char* kUntilConsumed = "retention.until_consumed";
constexpr const char* kReplication = "replication";
constexpr std::int64_t kHourMs = 3'600'000;

Result<std::int64_t> number_of(const std::string& option, const std::string& text) {
    constexpr std::size_t kDigitsMax = 12;
    if (text.empty() || text.size() > kDigitsMax ||
        text.find_first_not_of("0123456789") != std::string::npos) {
        return Error{Errc::kRefused,
                     "--" + option + " \"" + text + "\" is neither a number nor default"};
    }
    return std::stoll(text);
}

/// An empty value takes the attribute away.
Status set_retention(const Given& given, client::TopicSpec& spec) {
    for (const auto& [option, attribute, unit] :
         {std::tuple{"retention-hours", kMs, kHourMs}, std::tuple{"retention-bytes", kBytes, 1L}}) {
        if (given.count(option) == 0) {
            continue;
        }
        const auto text = given[option].as<std::string>();
        if (text == "default") {
            spec.attributes[attribute] = "";
            continue;
        }
        GANTRY_ASSIGN_OR_RETURN(const std::int64_t number, number_of(option, text));
        spec.attributes[attribute] = std::to_string(number * unit);
    }
    if (given.count("until-consumed") != 0) {
        const auto text = given["until-consumed"].as<std::string>();
        if (text != "yes" && text != "no" && text != "default") {
            return Error{Errc::kRefused,
                         "--until-consumed \"" + text + "\" is none of yes, no, default"};
        }
        spec.attributes[kUntilConsumed] = text == "default" ? "" : text == "yes" ? "true" : "false";
    }
    return ok();
}

/// As set_retention.
Status set_replication(const Given& given, client::TopicSpec& spec) {
    if (given.count(kReplication) == 0) {
        return ok();
    }
    const auto text = given[kReplication].as<std::string>();
    if (text != "sync" && text != "async" && text != "default") {
        return Error{Errc::kRefused,
                     "--replication \"" + text + "\" is none of sync, async, default"};
    }
    spec.attributes[kReplication] = text == "default" ? "" : text;
    return ok();
}

/// "72 h, 1000 B, until consumed", as far as the topic has rules of its own.
std::string retention_text(const client::TopicSpec& spec) {
    std::string text;
    for (const auto& [name, value] : spec.attributes) {
        if (name == kMs || name == kBytes || (name == kUntilConsumed && value == "true")) {
            text += text.empty() ? "" : ", ";
            text +=
                name == kUntilConsumed ? "until consumed" : value + (name == kMs ? " ms" : " B");
        }
    }
    return text.empty() ? "default" : text;
}

std::string perm_text(std::int32_t perm) {
    return std::string((perm & 4) != 0 ? "r" : "-") + ((perm & 2) != 0 ? "w" : "-");
}

Result<client::TopicSpec> spec_from(const Given& given, client::TopicSpec spec) {
    if (given.count("queues") != 0) {
        spec.read_queues = spec.write_queues = given["queues"].as<std::int32_t>();
    }
    if (given.count("read-queues") != 0) {
        spec.read_queues = given["read-queues"].as<std::int32_t>();
    }
    if (given.count("write-queues") != 0) {
        spec.write_queues = given["write-queues"].as<std::int32_t>();
    }
    if (given.count("perm") != 0) {
        const auto text = given["perm"].as<std::string>();
        if (text.empty() || text.find_first_not_of("rw") != std::string::npos) {
            return Error{Errc::kRefused, "--perm \"" + text + "\" is none of r, w, rw"};
        }
        spec.perm = (text.find('r') != std::string::npos ? 4 : 0) +
                    (text.find('w') != std::string::npos ? 2 : 0);
    }
    GANTRY_TRY(set_retention(given, spec));
    GANTRY_TRY(set_replication(given, spec));
    return spec;
}

ordered_json json_of(const client::TopicSpec& spec) {
    ordered_json attributes = ordered_json::object();
    for (const auto& [name, value] : spec.attributes) {
        if (!value.empty()) {
            attributes[name] = value;
        }
    }
    return {{"topic", spec.topic},
            {"read_queues", spec.read_queues},
            {"write_queues", spec.write_queues},
            {"perm", perm_text(spec.perm)},
            {"attributes", attributes}};
}

void say_done(Session& session, const char* what, const client::TopicSpec& spec) {
    if (session.json()) {
        session.print(json_of(spec));
        return;
    }
    session.streams().out << what << ' ' << spec.topic << ": " << spec.read_queues << " read, "
                          << spec.write_queues << " write queues, perm " << perm_text(spec.perm)
                          << '\n';
}

Status create(Session& session, const Given& given, const Arguments& arguments) {
    client::TopicSpec base;
    base.topic = arguments[0];
    GANTRY_ASSIGN_OR_RETURN(const client::TopicSpec spec, spec_from(given, base));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_TRY(admin->create_topic(spec, given["cluster"].as<std::string>()));
    say_done(session, "created", spec);
    return ok();
}

Status update(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto now, admin->describe_topic(arguments[0]));
    if (now.empty()) {
        return Error{Errc::kNotFound, "topic " + arguments[0]};
    }
    GANTRY_ASSIGN_OR_RETURN(const client::TopicSpec spec, spec_from(given, now.front().spec));
    GANTRY_TRY(admin->update_topic(spec));
    if (spec.read_queues < now.front().spec.read_queues) {
        session.streams().err << "gantry: messages in queues " << spec.read_queues << ".."
                              << now.front().spec.read_queues - 1
                              << " are no longer read; raise --read-queues to reach them\n";
    }
    say_done(session, "updated", spec);
    return ok();
}

Status remove(Session& session, const Given& given, const Arguments& arguments) {
    if (given.count("yes") == 0) {
        return Error{Errc::kRefused,
                     "deleting " + arguments[0] + " drops its messages; repeat with --yes"};
    }
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_TRY(admin->delete_topic(arguments[0]));
    if (session.json()) {
        session.print({{"topic", arguments[0]}, {"deleted", true}});
    } else {
        session.streams().out << "deleted " << arguments[0] << '\n';
    }
    return ok();
}

Status list(Session& session, const Given&, const Arguments&) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto topics, admin->list_topics());
    if (session.json()) {
        session.print(topics);
        return ok();
    }
    for (const std::string& topic : topics) {
        session.streams().out << topic << '\n';
    }
    return ok();
}

ordered_json json_of(const client::QueueStatus& status) {
    return {{"broker", status.queue.broker},
            {"queue", status.queue.queue},
            {"min_offset", status.min_offset},
            {"max_offset", status.max_offset},
            {"last_update_ms", status.last_update_ms}};
}

Status describe(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto brokers, admin->describe_topic(arguments[0]));
    GANTRY_ASSIGN_OR_RETURN(const auto queues, admin->topic_status(arguments[0]));
    if (session.json()) {
        ordered_json json = {{"topic", arguments[0]}};
        for (const auto& on_broker : brokers) {
            ordered_json entry = json_of(on_broker.spec);
            entry["broker"] = on_broker.broker;
            json["brokers"].push_back(entry);
        }
        json["queues"] = ordered_json::array();
        for (const auto& status : queues) {
            json["queues"].push_back(json_of(status));
        }
        session.print(json);
        return ok();
    }
    Table head({"BROKER", "READ QUEUES", "WRITE QUEUES", "PERM", "RETENTION"});
    for (const auto& on_broker : brokers) {
        head.add({on_broker.broker,
                  std::to_string(on_broker.spec.read_queues),
                  std::to_string(on_broker.spec.write_queues),
                  perm_text(on_broker.spec.perm),
                  retention_text(on_broker.spec)});
    }
    Table table({"BROKER", "QUEUE", "MIN OFFSET", "MAX OFFSET", "MESSAGES", "LAST UPDATE (UTC)"});
    for (const auto& status : queues) {
        table.add({status.queue.broker,
                   std::to_string(status.queue.queue),
                   std::to_string(status.min_offset),
                   std::to_string(status.max_offset),
                   std::to_string(status.max_offset - status.min_offset),
                   time_text(status.last_update_ms)});
    }
    session.streams().out << head.text() << '\n' << table.text();
    return ok();
}

void add_yes(Options& options) {
    options.add_options()("yes", "really do it");
}

}  // namespace

std::vector<Command> topic_commands() {
    return {
        {"topic",
         "create",
         "TOPIC",
         "make a topic on every broker",
         1,
         1,
         add_spec_options,
         create},
        {"topic", "list", "", "all topics", 0, 0, nullptr, list},
        {"topic",
         "describe",
         "TOPIC",
         "queues, offsets, permissions, retention",
         1,
         1,
         nullptr,
         describe},
        {"topic",
         "update",
         "TOPIC",
         "change queue numbers, permission, retention or replication",
         1,
         1,
         add_spec_options,
         update},
        {"topic", "delete", "TOPIC", "delete a topic and its messages", 1, 1, add_yes, remove},
    };
}

}  // namespace gantry::cli
