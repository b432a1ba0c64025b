// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/session.h"
#include "common/version.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <ostream>

namespace gantry::cli {
namespace {

std::vector<Command> all_commands() {
    std::vector<Command> all;
    for (auto area : {topic_commands(),
                      group_commands(),
                      order_commands(),
                      transaction_commands(),
                      delay_commands(),
                      dead_letter_commands(),
                      flow_commands(),
                      trace_commands(),
                      cluster_commands(),
                      broker_commands(),
                      message_commands(),
                      stream_commands(),
                      store_commands()}) {
        all.insert(all.end(), area.begin(), area.end());
    }
    return all;
}

std::string name_of(const Command& command) {
    std::string name(command.noun);
    if (!command.verb.empty()) {
        name += ' ';
        name += command.verb;
    }
    return name;
}

/// What a command does, in a line.
std::string summary(const Command& command) {
    std::string line = "  " + name_of(command) + ' ' + std::string(command.arguments);
    line.resize(std::max<std::size_t>(line.size() + 2, 34), ' ');
    return line + std::string(command.purpose) + '\n';
}

/// The commands about one thing; empty when there are none.
std::string commands_of(std::string_view noun) {
    std::string text;
    for (const Command& command : all_commands()) {
        if (command.noun == noun && !command.verb.empty()) {
            text += summary(command);
        }
    }
    return text;
}

std::string overview() {
    std::string text = "Administers a Gantry cluster and pipes messages through it.\n\n";
    text += "  gantry COMMAND [ARGUMENT...] [OPTION...]\n\n";
    for (const Command& command : all_commands()) {
        text += summary(command);
    }
    text +=
        "\n  gantry COMMAND --help shows its options. The nameserver is taken from --nameserver,\n"
        "  else from GANTRY_NAMESERVER, else 127.0.0.1:9876.\n\n"
        "Exit codes: 0 done, 1 failure, 2 usage, 3 not found, 4 unreachable or timed out,\n"
        "5 denied, 6 conflict.\n";
    return text;
}

int usage(Session& session, const std::string& what) {
    session.streams().err << "gantry: " << what << "\nTry: gantry --help\n";
    return kExitUsage;
}

Options options_of(const Command& command) {
    Options options("gantry " + name_of(command), std::string(command.purpose) + '\n');
    options.usage(std::string(command.arguments) + " [OPTION...]");
    options.add_options("Common")(
        "n,nameserver", "host:port, repeatable", value<std::vector<std::string>>())(
        "o,output", "table or json", value<std::string>().default_value("table"))(
        "timeout", "milliseconds", value<std::uint32_t>().default_value("5000"))(
        "dialect",
        "gantry, rocketmq, or detect: ask the nameserver which of the two",
        value<std::string>().default_value("gantry"))("h,help", "this text");
    if (command.add_options != nullptr) {
        command.add_options(options);
    }
    options.add_options("Arguments")("arguments", "", value<std::vector<std::string>>());
    options.positional("arguments");
    return options;
}

int run_command(const Command& command, const std::vector<const char*>& words, Session& session) {
    Options options = options_of(command);
    const Result<Given> parsed = options.parse(static_cast<int>(words.size()), words.data());
    if (!parsed) {
        return usage(session, parsed.error().detail);
    }
    const Given& given = *parsed;
    if (given.count("help") != 0) {
        session.streams().out << options.help({"", "Common"}) << '\n';
        return 0;
    }
    std::vector<std::string> arguments;
    if (given.count("arguments") != 0) {
        arguments = given["arguments"].as<std::vector<std::string>>();
    }
    if (arguments.size() < command.arguments_min || arguments.size() > command.arguments_max) {
        return usage(session,
                     name_of(command) + " takes " + std::string(command.arguments) + ", got " +
                         std::to_string(arguments.size()) + " argument(s)");
    }
    if (const Status common = session.take_common(given); !common) {
        return usage(session, common.error().detail);
    }
    const Status done = command.run(session, given, arguments);
    if (!done) {
        session.streams().err << "gantry: " << to_string(done.error()) << '\n';
        return exit_code(done.error().code);
    }
    return 0;
}

const Command* find_command(const std::vector<Command>& all,
                            const std::vector<std::string_view>& words) {
    for (const Command& command : all) {
        if (words[0] == command.noun &&
            (command.verb.empty() || (words.size() > 1 && words[1] == command.verb))) {
            return &command;
        }
    }
    return nullptr;
}

/// No command has these words: maybe a noun alone, or with --help.
int no_command(const std::vector<std::string_view>& words, Session& session) {
    const bool asks_help = words.size() > 1 && (words[1] == "--help" || words[1] == "-h");
    if (const std::string about = commands_of(words[0]);
        !about.empty() && (words.size() == 1 || asks_help)) {
        (asks_help ? session.streams().out : session.streams().err) << about;
        return asks_help ? 0 : 2;
    }
    std::string named(words[0]);
    if (words.size() > 1) {
        named += ' ';
        named += words[1];
    }
    return usage(session, "no command \"" + named + "\"");
}

Result<client::Dialect> dialect_of(const std::string& name) {
    for (const client::Dialect dialect :
         {client::Dialect::kGantry, client::Dialect::kRocketMq, client::Dialect::kDetect}) {
        if (name == client::name_of(dialect)) {
            return dialect;
        }
    }
    return Error{Errc::kRefused, "--dialect \"" + name + "\" is none of gantry, rocketmq, detect"};
}

}  // namespace

Status Session::take_common(const Given& given) {
    const auto output = given["output"].as<std::string>();
    if (output != "table" && output != "json") {
        return Error{Errc::kRefused, "--output \"" + output + "\" is none of table, json"};
    }
    json_ = output == "json";
    timeout_ms_ = given["timeout"].as<std::uint32_t>();
    GANTRY_ASSIGN_OR_RETURN(dialect_, dialect_of(given["dialect"].as<std::string>()));
    if (given.count("nameserver") != 0) {
        nameservers_ = given["nameserver"].as<std::vector<std::string>>();
        return ok();
    }
    // Read before any thread starts.
    const char* env =
        std::getenv("GANTRY_NAMESERVER");  // NOLINT(concurrency-mt-unsafe): no thread yet
    const std::string list = env != nullptr ? env : "127.0.0.1:9876";
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(';', at), list.size());
        nameservers_.push_back(list.substr(at, end - at));
        at = end + 1;
    }
    return ok();
}

Result<std::shared_ptr<client::Client>> Session::client() {
    if (!client_) {
        client::Client::Options options;
        options.nameservers = nameservers_;
        options.dialect = dialect_;
        GANTRY_ASSIGN_OR_RETURN(client_, client::Client::start(options));
    }
    return client_;
}

Result<client::AdminClient*> Session::admin() {
    if (!admin_) {
        GANTRY_ASSIGN_OR_RETURN(auto shared, client());
        client::AdminClient::Options options;
        options.timeout = std::chrono::milliseconds(timeout_ms_);
        GANTRY_ASSIGN_OR_RETURN(admin_, client::AdminClient::create(std::move(shared), options));
    }
    return admin_.get();
}

void Session::print(const nlohmann::ordered_json& value) {
    streams_.out << value.dump() << '\n';
}

int run_cli(int argc, const char* const* argv, Session& session) {
    std::vector<std::string_view> words;
    for (int i = 1; i < argc; ++i) {
        words.emplace_back(argv[i]);
    }
    if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
        session.streams().out << overview();
        return words.empty() ? 2 : 0;
    }
    if (words[0] == "--version") {
        session.streams().out << "gantry " << kVersion << '\n';
        return 0;
    }
    const std::vector<Command> all = all_commands();
    const Command* command = find_command(all, words);
    if (command == nullptr) {
        return no_command(words, session);
    }
    std::vector<const char*> rest = {argv[0]};
    for (int i = command->verb.empty() ? 2 : 3; i < argc; ++i) {
        rest.push_back(argv[i]);
    }
    return run_command(*command, rest, session);
}

Result<std::int64_t> parse_time(const std::string& text) {
    if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos &&
        text.size() < 18) {
        return std::int64_t{std::stoll(text)};
    }
    for (const char* form : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"}) {
        std::tm parts{};
        const char* end = ::strptime(text.c_str(), form, &parts);
        if (end != nullptr && (*end == '\0' || *end == 'Z')) {
            return std::int64_t{::timegm(&parts)} * 1000;
        }
    }
    return Error{Errc::kRefused,
                 "time \"" + text + "\" is neither milliseconds nor YYYY-MM-DD[THH:MM:SS] (UTC)"};
}

}  // namespace gantry::cli
