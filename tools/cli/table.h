// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace gantry::cli {

/// Rows of text in aligned columns under upper-case headers, for people. Numbers are aligned to
/// the right. Columns are two blanks apart; no colour, so that it can be piped.
class Table {
public:
    explicit Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

    std::size_t rows() const noexcept { return rows_.size(); }

    std::string text() const;

private:
    std::vector<std::string> headers_;
    std::vector<std::vector<std::string>> rows_;
};

/// "2026-11-21 01:02:03.004" in UTC; "-" for times before 1.
std::string time_text(long long ms);

/// "1.5 GiB".
std::string bytes_text(unsigned long long bytes);

}  // namespace gantry::cli
