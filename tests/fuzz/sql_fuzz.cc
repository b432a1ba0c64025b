// SPDX-License-Identifier: Apache-2.0
// An SQL92 expression up to the first line feed, then the properties of messages, a line each. What
// compiles says the same of the same message every time, and something of any bytes.
#include "filter/sql_compiler.h"
#include "filter/sql_filter.h"
#include "tests/fuzz/fuzz.h"

#include <string>
#include <string_view>

using namespace gantry;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input = as_text(wire::fuzz_input(data, size));
    const std::size_t middle = input.find('\n');
    const std::string_view expression = input.substr(0, middle);
    const auto compiled = filter::SqlFilter::compile(expression);
    if (!compiled) {
        GANTRY_ASSERT(compiled.error().code == Errc::kRefused);
        GANTRY_ASSERT(!compiled.error().detail.empty());
        return 0;
    }
    GANTRY_ASSERT(expression.size() <= filter::kSqlBytesMax);
    // Parentheses and comments around it change nothing.
    const auto wrapped = filter::SqlFilter::compile("/**/ (" + std::string(expression) + "\n)");
    std::string_view rest = middle == std::string_view::npos ? "" : input.substr(middle + 1);
    for (;;) {
        const std::size_t end = rest.find('\n');
        const std::string_view properties = rest.substr(0, end);
        const filter::Verdict verdict = (*compiled)->evaluate(properties);
        GANTRY_ASSERT(verdict <= filter::Verdict::kFailed);
        GANTRY_ASSERT((*compiled)->evaluate(properties) == verdict);
        GANTRY_ASSERT(!wrapped || (*wrapped)->evaluate(properties) == verdict);
        if (end == std::string_view::npos) {
            return 0;
        }
        rest.remove_prefix(end + 1);
    }
}
