// SPDX-License-Identifier: Apache-2.0
#include "cli/body_text.h"
#include "cli/message_json.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"
#include "protocol/wire/properties.h"

#include <limits>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;

void show(Session& session, const client::MessageView& message) {
    Table table({"FIELD", "VALUE"});
    table.add({"message id", message.message_id()});
    table.add({"offset message id", message.offset_message_id()});
    table.add({"topic", std::string(message.topic())});
    table.add({"broker", message.broker()});
    table.add({"queue", std::to_string(message.queue())});
    table.add({"queue offset", std::to_string(message.queue_offset())});
    table.add({"log offset", std::to_string(message.log_offset())});
    table.add({"born (UTC)", time_text(message.born_ms())});
    table.add({"stored (UTC)", time_text(message.store_ms())});
    table.add({"tag", std::string(message.tag())});
    table.add({"keys", std::string(message.keys())});
    table.add({"retries", std::to_string(message.reconsume_times())});
    session.streams().out << table.text() << '\n' << message.body() << '\n';
}

Status get(Session& session, const Given&, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto message, admin->message_by_id(arguments[0]));
    if (session.json()) {
        session.print(json_of(message));
    } else {
        show(session, message);
    }
    return ok();
}

void add_query_options(Options& options) {
    options.add_options()("k,key", "a key of the message, or its id", value<std::string>())(
        "begin", "stored at or after this time", value<std::string>())(
        "end", "stored at or before this time", value<std::string>())(
        "count", "at most so many, newest first", value<std::uint32_t>().default_value("32"));
}

Result<WallMs> time_option(const Given& given, const char* name, WallMs fallback) {
    return given.count(name) == 0 ? Result<WallMs>(fallback)
                                  : parse_time(given[name].as<std::string>());
}

Status query(Session& session, const Given& given, const Arguments& arguments) {
    if (given.count("key") == 0) {
        return Error{Errc::kRefused, "message query needs --key"};
    }
    GANTRY_ASSIGN_OR_RETURN(const WallMs begin, time_option(given, "begin", 0));
    GANTRY_ASSIGN_OR_RETURN(const WallMs end,
                            time_option(given, "end", std::numeric_limits<WallMs>::max()));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto messages,
                            admin->messages_by_key(arguments[0],
                                                   given["key"].as<std::string>(),
                                                   begin,
                                                   end,
                                                   given["count"].as<std::uint32_t>()));
    Table table({"MESSAGE ID", "QUEUE", "OFFSET", "STORED (UTC)", "TAG", "KEYS", "BYTES"});
    for (const auto& message : messages) {
        if (session.json()) {
            session.print(json_of(message));
        }
        table.add({message.offset_message_id(),
                   std::to_string(message.queue()),
                   std::to_string(message.queue_offset()),
                   time_text(message.store_ms()),
                   std::string(message.tag()),
                   std::string(message.keys()),
                   std::to_string(message.body().size())});
    }
    if (!session.json()) {
        session.streams().out << table.text();
    }
    return messages.empty() ? Status(Error{Errc::kNotFound, "no message with that key"}) : ok();
}

}  // namespace

ordered_json json_of(const client::MessageView& message) {
    ordered_json json = {{"message_id", message.message_id()},
                         {"offset_message_id", message.offset_message_id()},
                         {"topic", message.topic()},
                         {"broker", message.broker()},
                         {"queue", message.queue()},
                         {"queue_offset", message.queue_offset()},
                         {"born_ms", message.born_ms()},
                         {"born_host", message.born_host()},
                         {"store_ms", message.store_ms()},
                         {"tag", message.tag()},
                         {"key", message.keys()},
                         {"retries", message.reconsume_times()},
                         {"properties", ordered_json::object()}};
    wire::for_each_property(message.raw_properties(),
                            [&json](std::string_view name, std::string_view value) {
                                if (is_utf8(name) && is_utf8(value)) {
                                    json["properties"][std::string(name)] = value;
                                } else {
                                    json["properties_base64"][base64(name)] = base64(value);
                                }
                            });
    if (is_utf8(message.body())) {
        json["body"] = message.body();
    } else {
        json["body_base64"] = base64(message.body());
    }
    return json;
}

std::vector<Command> message_commands() {
    return {
        {"message", "get", "ID", "one message by its (offset) message id", 1, 1, nullptr, get},
        {"message", "query", "TOPIC", "messages by key", 1, 1, add_query_options, query},
    };
}

}  // namespace gantry::cli
