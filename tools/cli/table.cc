// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace gantry::cli {
namespace {

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789.-") == std::string::npos;
}

void append_cell(std::string& line, const std::string& cell, std::size_t width, bool right) {
    const std::string padding(width - std::min(width, cell.size()), ' ');
    line += right ? padding + cell : cell + padding;
    line += "  ";
}

void end_line(std::string& text, std::string& line) {
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
    line.clear();
}

}  // namespace

std::string Table::text() const {
    std::vector<std::size_t> widths;
    std::vector<bool> numeric;
    for (std::size_t c = 0; c < headers_.size(); ++c) {
        std::size_t width = headers_[c].size();
        bool all_numbers = !rows_.empty();
        for (const auto& row : rows_) {
            width = std::max(width, row[c].size());
            all_numbers = all_numbers && is_number(row[c]);
        }
        widths.push_back(width);
        numeric.push_back(all_numbers);
    }
    std::string text;
    std::string line;
    for (std::size_t c = 0; c < headers_.size(); ++c) {
        append_cell(line, headers_[c], widths[c], numeric[c]);
    }
    end_line(text, line);
    for (const auto& row : rows_) {
        for (std::size_t c = 0; c < headers_.size(); ++c) {
            append_cell(line, row[c], widths[c], numeric[c]);
        }
        end_line(text, line);
    }
    return text;
}

std::string time_text(long long ms) {
    if (ms <= 0) {
        return "-";
    }
    const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> day{};
    std::strftime(day.data(), day.size(), "%Y-%m-%d %H:%M:%S", &parts);
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%s.%03lld", day.data(), ms % 1000);
    return text.data();
}

std::string bytes_text(unsigned long long bytes) {
    static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return text.data();
}

}  // namespace gantry::cli
