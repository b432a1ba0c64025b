// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/clock.h"
#include "common/result.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gantry {

/// How much a line matters. Lines below LogOptions::level are dropped; kOff drops all.
enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };

/// One `key=value` of a log line.
struct LogField {
    LogField(std::string_view k, std::string_view v) : key(k), value(v) {}

    LogField(std::string_view k, const char* v) : key(k), value(v) {}

    LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}

    template <std::integral T>
    LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}

    LogField(std::string_view k, const Error& v) : key(k), value(to_string(v)) {}

    std::string_view key;
    std::string value;
};

/// Where log lines of this process go: standard error until set_up says otherwise.
struct LogOptions {
    LogLevel level = LogLevel::kInfo;
    std::string file;                                         ///< empty: standard error
    std::uint64_t file_bytes_max = std::uint64_t{64} << 20U;  ///< then the file rolls
    std::uint32_t files_max = 8;                              ///< rolled files kept
};

/// Sets level and target for the whole process. kIo: the file cannot be opened.
Status set_up_log(const LogOptions& options);

/// Parses "debug", "info", "warn", "error", "off".
Result<LogLevel> parse_log_level(std::string_view text);

/// The log of one room: `event key=value ...`, one line a call. An error is logged once, where it
/// is handled; nothing per message above debug. Threads: any. Lines are written by the caller's
/// thread to a buffered target, so none belongs on a per-message path.
class Logger {
public:
    explicit constexpr Logger(std::string_view room) noexcept : room_(room) {}

    void debug(std::string_view event, std::initializer_list<LogField> fields = {}) const {
        write(LogLevel::kDebug, event, fields);
    }

    void info(std::string_view event, std::initializer_list<LogField> fields = {}) const {
        write(LogLevel::kInfo, event, fields);
    }

    void warn(std::string_view event, std::initializer_list<LogField> fields = {}) const {
        write(LogLevel::kWarn, event, fields);
    }

    void error(std::string_view event, std::initializer_list<LogField> fields = {}) const {
        write(LogLevel::kError, event, fields);
    }

private:
    void write(LogLevel level,
               std::string_view event,
               std::initializer_list<LogField> fields) const;

    std::string_view room_;
};

/// Lets so many log lines of a kind through in a second, and counts the others.
///
/// Threads   one at a time.
class LogRate {
public:
    explicit LogRate(std::uint32_t lines_max) noexcept : lines_max_(lines_max) {}

    /// Nothing when the line is one too many; else write it, with the lines that were left out
    /// since the one before.
    std::optional<std::uint64_t> take(SteadyTime now) noexcept {
        if (lines_ == 0 || now - second_ >= std::chrono::seconds(1)) {
            second_ = now;
            lines_ = 0;
        }
        if (lines_ == lines_max_) {
            ++left_out_;
            return std::nullopt;
        }
        ++lines_;
        return std::exchange(left_out_, 0);
    }

private:
    const std::uint32_t lines_max_;
    SteadyTime second_{};  ///< when the current one began
    std::uint32_t lines_ = 0;
    std::uint64_t left_out_ = 0;
};

}  // namespace gantry
