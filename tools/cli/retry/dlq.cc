// SPDX-License-Identifier: Apache-2.0
#include "cli/body_text.h"
#include "cli/message_json.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/table.h"
#include "protocol/wire/names.h"

#include <algorithm>
#include <limits>
#include <map>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using client::DeadLetterQueue;
using nlohmann::ordered_json;

constexpr std::uint32_t kShownMax = 10'000;

/// A group's dead letters that wait, over all brokers.
struct Summary {
    std::int64_t count = 0;
    WallMs oldest_ms = 0;
    WallMs newest_ms = 0;
};

Summary summary_of(const std::vector<DeadLetterQueue>& queues) {
    Summary all;
    for (const DeadLetterQueue& queue : queues) {
        all.count += queue.count();
        all.newest_ms = std::max(all.newest_ms, queue.newest_ms);
        if (queue.oldest_ms != 0 && (all.oldest_ms == 0 || queue.oldest_ms < all.oldest_ms)) {
            all.oldest_ms = queue.oldest_ms;
        }
    }
    return all;
}

ordered_json json_of_queues(const std::vector<DeadLetterQueue>& queues) {
    ordered_json json = ordered_json::array();
    for (const DeadLetterQueue& queue : queues) {
        json.push_back({{"broker", queue.queue.broker},
                        {"queue", queue.queue.queue},
                        {"count", queue.count()},
                        {"first", queue.first},
                        {"end", queue.end},
                        {"min", queue.min_offset}});
    }
    return json;
}

Status list(Session& session, const Given&, const Arguments&) {
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto queues, admin->list_dead_letters());
    std::map<std::string, std::vector<DeadLetterQueue>> groups;
    for (const DeadLetterQueue& queue : queues) {
        groups[queue.group].push_back(queue);
    }
    Table table({"GROUP", "COUNT", "OLDEST (UTC)", "NEWEST (UTC)"});
    ordered_json json = ordered_json::array();
    for (const auto& [group, its_queues] : groups) {
        const Summary all = summary_of(its_queues);
        table.add(
            {group, std::to_string(all.count), time_text(all.oldest_ms), time_text(all.newest_ms)});
        json.push_back({{"group", group},
                        {"count", all.count},
                        {"oldest_ms", all.oldest_ms},
                        {"newest_ms", all.newest_ms},
                        {"queues", json_of_queues(its_queues)}});
    }
    if (session.json()) {
        session.print(json);
    } else {
        session.streams().out << table.text();
    }
    return ok();
}

void add_show_options(Options& options) {
    options.add_options()(
        "from", "offset of the first; default: of the oldest that waits", value<std::int64_t>())(
        "count", "at most so many of each broker", value<std::uint32_t>().default_value("32"))(
        "broker", "only those on it", value<std::string>().default_value(""));
}

/// The start of a body, for one line of a table.
std::string excerpt(std::string_view body) {
    constexpr std::size_t kExcerpt = 40;
    std::size_t end = std::min(body.size(), kExcerpt);
    while (end < body.size() && end > 0 &&
           (static_cast<unsigned char>(body[end]) & 0xC0U) == 0x80U) {
        --end;  // not in the middle of a character
    }
    return printable(body.substr(0, end)) + (end < body.size() ? "..." : "");
}

std::string text_or_dash(std::string_view text) {
    return text.empty() ? "-" : std::string(text);
}

ordered_json json_of_letter(const client::MessageView& message, bool waits) {
    ordered_json json = json_of(message);
    json["origin_topic"] = message.property("RETRY_TOPIC");
    json["origin_message_id"] = message.property("ORIGIN_MESSAGE_ID");
    json["waits"] = waits;
    return json;
}

void add_row(Table& table, const client::MessageView& message) {
    table.add({message.broker(),
               std::to_string(message.queue_offset()),
               message.message_id(),
               text_or_dash(message.property("RETRY_TOPIC")),
               text_or_dash(message.property("ORIGIN_MESSAGE_ID")),
               std::to_string(message.reconsume_times()),
               text_or_dash(message.keys()),
               text_or_dash(message.tag()),
               time_text(message.born_ms()),
               time_text(message.store_ms()),
               excerpt(message.body())});
}

Status show(Session& session, const Given& given, const Arguments& arguments) {
    const auto count = given["count"].as<std::uint32_t>();
    if (count < 1 || count > kShownMax) {
        return Error{
            Errc::kRefused,
            "--count " + std::to_string(count) + " is not in 1.." + std::to_string(kShownMax)};
    }
    const auto broker = given["broker"].as<std::string>();
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(auto queues, admin->dead_letters_of(arguments[0]));
    std::erase_if(queues, [&broker](const DeadLetterQueue& queue) {
        return !broker.empty() && queue.queue.broker != broker;
    });
    if (queues.empty()) {
        return Error{Errc::kNotFound,
                     "broker " + broker + " has no dead letters of group " + arguments[0]};
    }
    Table table({"BROKER",
                 "OFFSET",
                 "MESSAGE ID",
                 "ORIGIN TOPIC",
                 "ORIGIN MESSAGE ID",
                 "RETRIES",
                 "KEYS",
                 "TAG",
                 "BORN (UTC)",
                 "STORED (UTC)",
                 "BODY"});
    for (const DeadLetterQueue& queue : queues) {
        const std::int64_t from =
            given.count("from") != 0 ? given["from"].as<std::int64_t>() : queue.first;
        GANTRY_ASSIGN_OR_RETURN(
            const auto messages,
            admin->read_dead_letters(queue.queue, std::max(from, queue.min_offset), count));
        for (const client::MessageView& message : messages) {
            if (session.json()) {
                session.print(json_of_letter(message, message.queue_offset() >= queue.first));
            } else {
                add_row(table, message);
            }
        }
    }
    if (!session.json()) {
        session.streams().out << table.text();
    }
    return ok();
}

void add_redrive_options(Options& options) {
    options.add_options()("all", "all that wait")(
        "offset", "the one at this offset", value<std::int64_t>())(
        "message-id",
        "the one with this id, also of before it died",
        value<std::string>().default_value(""))(
        "broker", "only those on it", value<std::string>().default_value(""))(
        "to-topic",
        "send them there; default: to the group alone, through its retry topic",
        value<std::string>().default_value(""))("dry-run", "only count them");
}

Result<client::Redrive> redrive_of(const Given& given, const std::string& group) {
    client::Redrive what;
    what.group = group;
    what.to_topic = given["to-topic"].as<std::string>();
    what.broker = given["broker"].as<std::string>();
    what.message_id = given["message-id"].as<std::string>();
    what.is_dry_run = given.count("dry-run") != 0;
    if (given.count("offset") != 0) {
        what.offset = given["offset"].as<std::int64_t>();
    }
    const int chosen = (given.count("all") != 0 ? 1 : 0) + (what.offset ? 1 : 0) +
                       (what.message_id.empty() ? 0 : 1);
    if (chosen != 1) {
        return Error{
            Errc::kRefused,
            "redrive needs one of --all, --offset, --message-id; given: " + std::to_string(chosen)};
    }
    return what;
}

Status redrive(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(const client::Redrive what, redrive_of(given, arguments[0]));
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    client::RedriveReport report;
    const Status done = admin->redrive_dead_letters(what, report);
    const std::string to = what.to_topic.empty() ? wire::retry_topic(what.group) : what.to_topic;
    if (!done && report.redriven == 0) {
        return done;
    }
    if (session.json()) {
        session.print({{"group", what.group},
                       {"to", to},
                       {"dry_run", what.is_dry_run},
                       {"redriven", report.redriven},
                       {"lost", report.lost}});
    } else {
        session.streams().out << (what.is_dry_run ? "would redrive " : "redriven ")
                              << report.redriven << " to " << to << '\n';
    }
    if (report.lost > 0) {
        session.streams().err << "warning: " << report.lost
                              << " dead letters are lost to damage in the store\n";
    }
    return done;
}

void add_purge_options(Options& options) {
    options.add_options()("before", "only those that died before this time", value<std::string>())(
        "yes", "really do it");
}

Status purge(Session& session, const Given& given, const Arguments& arguments) {
    WallMs before = std::numeric_limits<WallMs>::max();
    if (given.count("before") != 0) {
        GANTRY_ASSIGN_OR_RETURN(before, parse_time(given["before"].as<std::string>()));
    }
    if (given.count("yes") == 0) {
        return Error{Errc::kRefused,
                     "purging gives up dead letters of " + arguments[0] + "; repeat with --yes"};
    }
    GANTRY_ASSIGN_OR_RETURN(auto* admin, session.admin());
    GANTRY_ASSIGN_OR_RETURN(const auto purged, admin->purge_dead_letters(arguments[0], before));
    if (session.json()) {
        session.print({{"group", arguments[0]}, {"purged", purged}});
    } else {
        session.streams().out << "purged " << purged << '\n';
    }
    return ok();
}

}  // namespace

std::vector<Command> dead_letter_commands() {
    return {
        {"dlq", "list", "", "dead letters that wait, by group", 0, 0, nullptr, list},
        {"dlq", "show", "GROUP", "a group's dead letters", 1, 1, add_show_options, show},
        {"dlq",
         "redrive",
         "GROUP",
         "let the group, or a topic, have them again",
         1,
         1,
         add_redrive_options,
         redrive},
        {"dlq", "purge", "GROUP", "give them up", 1, 1, add_purge_options, purge},
    };
}

}  // namespace gantry::cli
