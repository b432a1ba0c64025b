// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/session.h"
#include "storage/check/store_check.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace gantry::cli {

/// The verbs of "gantry store", each in a source of its own.
Command store_check_command();
Command store_dump_command();
Command store_import_command();
Command store_repair_command();

/// A check's report, as all verbs show it.
nlohmann::ordered_json json_of(const storage::CheckReport& report);
void show(std::ostream& out, const storage::CheckReport& report);

/// Shows how far a long command is, on a terminal's stderr: one line, written again and again.
class ProgressLine {
public:
    explicit ProgressLine(const Session::Streams& streams) : streams_(streams) {}

    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    ~ProgressLine() { clear(); }

    /// Shows `text` in the place of what was there.
    void show(const std::string& text);
    void clear();

private:
    const Session::Streams& streams_;
    bool is_shown_ = false;
};

}  // namespace gantry::cli
