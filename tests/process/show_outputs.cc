// SPDX-License-Identifier: Apache-2.0
// After a failed test: what its daemons wrote last. Their files are gone with the test.
#include "tests/harness/process.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

namespace gantry::harness {
namespace {

class ShowOutputs : public doctest::IReporter {
public:
    explicit ShowOutputs(const doctest::ContextOptions& /*options*/) {}

    void test_case_start(const doctest::TestCaseData& /*test*/) override { take_ended_outputs(); }

    void test_case_end(const doctest::CurrentTestCaseStats& test) override {
        if (test.failure_flags == doctest::TestCaseFailureReason::None) {
            return;
        }
        for (const std::string& output : take_ended_outputs()) {
            std::printf("%s\n", output.c_str());
        }
        std::fflush(stdout);
    }

    void report_query(const doctest::QueryData& /*query*/) override {}

    void test_run_start() override {}

    void test_run_end(const doctest::TestRunStats& /*run*/) override {}

    void test_case_reenter(const doctest::TestCaseData& /*test*/) override {}

    void test_case_exception(const doctest::TestCaseException& /*thrown*/) override {}

    void subcase_start(const doctest::SubcaseSignature& /*subcase*/) override {}

    void subcase_end() override {}

    void log_assert(const doctest::AssertData& /*assertion*/) override {}

    void log_message(const doctest::MessageData& /*message*/) override {}

    void test_case_skipped(const doctest::TestCaseData& /*test*/) override {}
};

REGISTER_LISTENER("show_outputs", 1, ShowOutputs);

}  // namespace
}  // namespace gantry::harness
