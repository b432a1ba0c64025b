// SPDX-License-Identifier: Apache-2.0
#include "storage/check/store_dump.h"

#include "cli/body_text.h"
#include "cli/options.h"
#include "cli/store/store_commands.h"
#include "cli/store/store_inner.h"
#include "cli/table.h"
#include "protocol/wire/names.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/state.pb.h"
#include "storage/topic_table.h"

#include <nlohmann/json.hpp>

#include <array>
#include <ostream>

namespace gantry::cli {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::ordered_json;
using storage::DumpItem;

/// How a message's body is shown.
enum class BodyForm : std::uint8_t { kText, kHex, kBase64, kNone };

Result<BodyForm> parse_form(const std::string& text) {
    constexpr std::array<std::pair<std::string_view, BodyForm>, 4> kForms = {
        {{"text", BodyForm::kText},
         {"hex", BodyForm::kHex},
         {"base64", BodyForm::kBase64},
         {"none", BodyForm::kNone}}};
    for (const auto& [name, form] : kForms) {
        if (text == name) {
            return form;
        }
    }
    return Error{Errc::kRefused, "--body \"" + text + "\" is none of text, hex, base64, none"};
}

std::string body_of(std::string_view body, BodyForm form) {
    switch (form) {
        case BodyForm::kText:
            return printable(body);
        case BodyForm::kHex:
            return hex(body);
        case BodyForm::kBase64:
            return base64(body);
        case BodyForm::kNone:
            break;
    }
    return {};
}

bool is_state(const wire::Record& record) {
    return record.topic == storage::kStateTopic && record.queue_id == 0;
}

/// What a state record changes, one text a change; nothing when it does not parse.
std::optional<std::vector<std::string>> changes_of(const wire::Record& record) {
    wire::StateRecord state;
    if (!state.ParseFromArray(record.body.data(), static_cast<int>(record.body.size()))) {
        return std::nullopt;
    }
    std::vector<std::string> changes;
    for (const wire::StateChange& change : state.changes()) {
        changes.push_back(change_text(change));
    }
    return changes;
}

std::string name_of(const wire::Record& record) {
    return "topic " + std::string(record.topic) + " queue " + std::to_string(record.queue_id) +
           " offset " + std::to_string(record.queue_offset.value);
}

std::string_view kind_of(DumpItem::Kind kind) {
    switch (kind) {
        case DumpItem::Kind::kRecord:
            return "record";
        case DumpItem::Kind::kDamage:
            return "damage";
        case DumpItem::Kind::kTail:
            return "tail";
    }
    return "";
}

class DumpPrinter {
public:
    DumpPrinter(std::ostream& out, BodyForm form, bool is_json)
        : out_(out), form_(form), is_json_(is_json) {}

    void print(const DumpItem& item) const {
        if (is_json_) {
            const ordered_json line =
                item.kind == DumpItem::Kind::kRecord ? json_of_record(item) : json_of_damage(item);
            // A line must not fail for a name that is no UTF-8.
            out_ << line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << '\n';
        } else if (item.kind == DumpItem::Kind::kRecord) {
            show_record(item);
        } else {
            show_damage(item);
        }
    }

private:
    ordered_json json_of_damage(const DumpItem& item) const {
        ordered_json line = {{"kind", kind_of(item.kind)},
                             {"log_offset", item.at.value},
                             {"bytes", item.bytes},
                             {"file", item.file},
                             {"what", item.why}};
        if (item.record != nullptr) {
            line["message"] = name_of(*item.record);
        }
        return line;
    }

    ordered_json json_of_record(const DumpItem& item) const {
        const wire::Record& record = *item.record;
        ordered_json properties = ordered_json::object();
        wire::for_each_property(record.properties,
                                [&](std::string_view name, std::string_view value) {
                                    properties[std::string(name)] = value;
                                });
        ordered_json line = {{"kind", "record"},
                             {"log_offset", item.at.value},
                             {"bytes", item.bytes},
                             {"topic", record.topic},
                             {"queue", record.queue_id},
                             {"queue_offset", record.queue_offset.value},
                             {"store_ms", record.store_ms},
                             {"store_host", wire::to_string(record.store_host)},
                             {"born_ms", record.born_ms},
                             {"born_host", wire::to_string(record.born_host)},
                             {"flag", record.flag},
                             {"sys_flag", record.sys_flag},
                             {"reconsume_times", record.reconsume_times},
                             {"properties", properties},
                             {"body_bytes", record.body.size()}};
        const auto changes = is_state(record) ? changes_of(record) : std::nullopt;
        if (changes) {
            line["changes"] = *changes;
        } else {
            add_body(line, as_text(record.body));
        }
        return line;
    }

    void add_body(ordered_json& line, std::string_view body) const {
        if (form_ == BodyForm::kHex) {
            line["body_hex"] = hex(body);
        } else if (form_ == BodyForm::kBase64 || (form_ == BodyForm::kText && !is_utf8(body))) {
            line["body_base64"] = base64(body);
        } else if (form_ == BodyForm::kText) {
            line["body"] = body;
        }
    }

    void show_record(const DumpItem& item) const {
        const wire::Record& record = *item.record;
        out_ << "log " << item.at.value << ", " << item.bytes
             << " B: " << printable(name_of(record)) << "\n    stored "
             << time_text(record.store_ms) << " by " << wire::to_string(record.store_host)
             << ", born " << time_text(record.born_ms) << " at "
             << wire::to_string(record.born_host);
        if (record.sys_flag != 0 || record.flag != 0 || record.reconsume_times != 0) {
            out_ << ", sysFlag " << record.sys_flag << ", flag " << record.flag << ", retries "
                 << record.reconsume_times;
        }
        std::string properties;
        wire::for_each_property(record.properties,
                                [&](std::string_view name, std::string_view value) {
                                    properties += ' ' + printable(name) + '=' + printable(value);
                                });
        out_ << (properties.empty() ? "" : "\n   ") << properties << '\n';
        const auto changes = is_state(record) ? changes_of(record) : std::nullopt;
        if (changes) {
            for (const std::string& change : *changes) {
                out_ << "    " << printable(change) << '\n';
            }
        } else if (form_ != BodyForm::kNone) {
            out_ << "    body " << record.body.size()
                 << " B: " << body_of(as_text(record.body), form_) << '\n';
        }
    }

    void show_damage(const DumpItem& item) const {
        out_ << kind_of(item.kind) << ": " << item.file << ": log offset " << item.at.value << ", "
             << item.bytes << " B: " << item.why;
        if (item.record != nullptr) {
            out_ << " (" << printable(name_of(*item.record)) << ')';
        }
        out_ << '\n';
    }

    std::ostream& out_;
    const BodyForm form_;
    const bool is_json_;
};

void add_dump_options(Options& options) {
    using Number = std::int64_t;
    options.add_options()("topic", "records of this topic", value<std::string>())(
        "queue", "and of this queue", value<std::int32_t>())(
        "from", "records from this log offset on", value<Number>())(
        "to", "records below this log offset", value<Number>())(
        "queue-from", "records from this queue offset on", value<Number>())(
        "queue-to", "records below this queue offset", value<Number>())(
        "key", "records with this key, or message id", value<std::string>())(
        "since", "stored at or after: ms or YYYY-MM-DD[THH:MM:SS]", value<std::string>())(
        "until", "stored at or before", value<std::string>())(
        "limit", "at most so many records", value<std::uint64_t>())(
        "body", "text, hex, base64 or none", value<std::string>().default_value("text"))(
        "live", "a broker may have it open: only what is durable is read")(
        "what",
        "records; or state (newest snapshot), units (consume queues), sums (block checksums), "
        "checkpoint",
        value<std::string>().default_value("records"));
}

Result<storage::DumpOptions> options_of(const Given& given) {
    storage::DumpOptions options;
    options.is_live = given.count("live") != 0;
    const auto take = [&given](const char* name, auto& into) {
        if (given.count(name) != 0) {
            into = given[name].as<std::decay_t<decltype(into)>>();
        }
    };
    std::int64_t from = 0;
    std::int64_t to = options.to.value;
    take("from", from);
    take("to", to);
    options.from = LogOffset(from);
    options.to = LogOffset(to);
    take("topic", options.topic);
    if (given.count("queue") != 0) {
        options.queue_id = given["queue"].as<std::int32_t>();
    }
    take("queue-from", options.queue_from);
    take("queue-to", options.queue_to);
    take("key", options.key);
    take("limit", options.limit);
    if (given.count("since") != 0) {
        GANTRY_ASSIGN_OR_RETURN(options.since, parse_time(given["since"].as<std::string>()));
    }
    if (given.count("until") != 0) {
        GANTRY_ASSIGN_OR_RETURN(options.until, parse_time(given["until"].as<std::string>()));
    }
    return options;
}

Status dump(Session& session, const Given& given, const Arguments& arguments) {
    GANTRY_ASSIGN_OR_RETURN(const BodyForm form, parse_form(given["body"].as<std::string>()));
    GANTRY_ASSIGN_OR_RETURN(storage::DumpOptions options, options_of(given));
    options.directory = arguments[0];
    const auto what = given["what"].as<std::string>();
    const std::unique_ptr<FileSystem> files = make_posix_file_system();
    if (what != "records") {
        return dump_inner(session, *files, options, what);
    }
    std::ostream& out = session.streams().out;
    const DumpPrinter printer(out, form, session.json());
    const auto each = [&](const DumpItem& item) -> Status {
        printer.print(item);
        return out.good() ? ok() : Status(Error{Errc::kIo, "the output takes no more"});
    };
    GANTRY_ASSIGN_OR_RETURN(const storage::DumpSummary summary,
                            storage::dump_store(*files, options, each));
    if (!summary.is_good()) {
        return Error{Errc::kCorrupt,
                     "the store " + arguments[0] + " is damaged in " +
                         std::to_string(summary.damages) + " place(s)"};
    }
    return ok();
}

}  // namespace

Command store_dump_command() {
    return {.noun = "store",
            .verb = "dump",
            .arguments = "DIRECTORY",
            .purpose = "prints the records of a store, in log order, and the damage between them",
            .arguments_min = 1,
            .arguments_max = 1,
            .add_options = add_dump_options,
            .run = dump};
}

}  // namespace gantry::cli
