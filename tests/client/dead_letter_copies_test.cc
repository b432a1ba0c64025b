// SPDX-License-Identifier: Apache-2.0
#include "client/admin/dead_letter_copies.h"

#include "protocol/wire/properties.h"

#include <doctest/doctest.h>

#include <string>

namespace gantry::client {
namespace {

std::string properties(std::initializer_list<std::pair<std::string_view, std::string_view>> all) {
    std::string text;
    for (const auto& [name, value] : all) {
        REQUIRE(wire::append_property(text, name, value));
    }
    return text;
}

}  // namespace

TEST_SUITE("client/dead_letter_copies") {
    TEST_CASE("a copy is the message as it was sent, delivered to nobody") {
        const std::string stored = properties({{"TAGS", "a"},
                                               {"UNIQ_KEY", "id"},
                                               {"RETRY_TOPIC", "T"},
                                               {"ORIGIN_MESSAGE_ID", "origin"},
                                               {"DELAY", "3"},
                                               {"REAL_TOPIC", "%RETRY%G"},
                                               {"REAL_QID", "0"},
                                               {"TRAN_MSG", "true"},
                                               {"WAIT", "false"},
                                               {"GANTRY_EXPIRES_AT", "1700000000000"},
                                               {"GSEQ", "1"},
                                               {"CLUSTER", "c"}});
        wire::Record record;
        record.flag = 7;
        record.sys_flag = 0x301 | wire::sys_flag::kTransactionCommit | wire::sys_flag::kBornHostV6;
        record.born_ms = 5;
        record.reconsume_times = 16;
        record.body = as_bytes("compressed");
        record.topic = "%DLQ%G";
        record.properties = stored;
        const DeadLetterCopy copy = copy_of(record, "%RETRY%G", true);
        CHECK(copy.fields.topic() == "%RETRY%G");
        CHECK(copy.fields.sysflag() == 0x301);
        CHECK(copy.fields.flag() == 7);
        CHECK(copy.fields.borntimestamp() == 5);
        CHECK(copy.fields.reconsumetimes() == 0);
        CHECK(copy.body == "compressed");
        CHECK(copy.fields.properties() == properties({{"TAGS", "a"},
                                                      {"UNIQ_KEY", "id"},
                                                      {"RETRY_TOPIC", "T"},
                                                      {"ORIGIN_MESSAGE_ID", "origin"}}));
        CHECK(copy_of(record, "OTHER", false).fields.properties() ==
              properties({{"TAGS", "a"}, {"UNIQ_KEY", "id"}}));
    }
}

}  // namespace gantry::client
