// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>

namespace gantry {
namespace {

constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarn:
            return spdlog::level::warn;
        case LogLevel::kError:
            return spdlog::level::err;
        case LogLevel::kOff:
            break;
    }
    return spdlog::level::off;
}

std::shared_ptr<spdlog::logger> make_default() {
    auto logger = std::make_shared<spdlog::logger>(
        "gantry", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern(kPattern);
    return logger;
}

std::shared_ptr<spdlog::logger>& current() {
    static std::shared_ptr<spdlog::logger> logger = make_default();
    return logger;
}

bool needs_quotes(std::string_view value) {
    return value.empty() || value.find_first_of(" \"=\n\t") != std::string_view::npos;
}

void append_value(std::string& line, std::string_view value) {
    if (!needs_quotes(value)) {
        line += value;
        return;
    }
    line += '"';
    for (const char c : value) {
        if (c == '"' || c == '\\') {
            line += '\\';
        }
        line += c == '\n' ? ' ' : c;
    }
    line += '"';
}

}  // namespace

Status set_up_log(const LogOptions& options) {
    try {
        std::shared_ptr<spdlog::logger> logger;
        if (options.file.empty()) {
            logger = make_default();
        } else {
            logger = std::make_shared<spdlog::logger>(
                "gantry",
                std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
                    options.file, options.file_bytes_max, options.files_max));
            logger->set_pattern(kPattern);
            logger->flush_on(spdlog::level::info);
        }
        logger->set_level(to_spdlog(options.level));
        current() = std::move(logger);
        return ok();
    } catch (const spdlog::spdlog_ex& e) {
        return Error{Errc::kIo, e.what()};
    }
}

Result<LogLevel> parse_log_level(std::string_view text) {
    if (text == "debug") {
        return LogLevel::kDebug;
    }
    if (text == "info") {
        return LogLevel::kInfo;
    }
    if (text == "warn") {
        return LogLevel::kWarn;
    }
    if (text == "error") {
        return LogLevel::kError;
    }
    if (text == "off") {
        return LogLevel::kOff;
    }
    return Error{
        Errc::kRefused,
        "log level \"" + std::string(text) + "\" is none of debug, info, warn, error, off"};
}

void Logger::write(LogLevel level,
                   std::string_view event,
                   std::initializer_list<LogField> fields) const {
    const auto& logger = current();
    const auto severity = to_spdlog(level);
    if (!logger->should_log(severity)) {
        return;
    }
    std::string line(room_);
    line += ' ';
    line += event;
    for (const LogField& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value);
    }
    logger->log(severity, line);
}

}  // namespace gantry
