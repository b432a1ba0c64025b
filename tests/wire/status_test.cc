// SPDX-License-Identifier: Apache-2.0
#include "protocol/wire/status.h"

#include <doctest/doctest.h>

namespace gantry::wire {

TEST_SUITE("wire/status") {
    TEST_CASE("every error has a failure code, stock codecs get RocketMQ's numbers only") {
        for (std::size_t i = 0; i < kErrcCount; ++i) {
            const auto code = static_cast<Errc>(i);
            CAPTURE(to_string(code));
            CHECK(response_code(code, Codec::kNative) != ResponseCode::kSuccess);
            for (const Codec codec : {Codec::kJson, Codec::kBinary}) {
                const auto number = static_cast<std::int32_t>(response_code(code, codec));
                CHECK(number > 0);
                CHECK(number < 10'000);
            }
        }
    }

    TEST_CASE("an error keeps its class through the native codec") {
        for (std::size_t i = 0; i < kErrcCount; ++i) {
            const auto code = static_cast<Errc>(i);
            CAPTURE(to_string(code));
            Errc expected = code;
            if (code == Errc::kGone || code == Errc::kClosed) {
                expected = Errc::kReadOnly;
            } else if (code == Errc::kTimeout) {
                expected = Errc::kUnknown;
            }
            CHECK(errc_of(response_code(code, Codec::kNative)) == expected);
        }
    }

    TEST_CASE("less than asked for, and codes nobody knows, leave the outcome unknown") {
        CHECK(errc_of(ResponseCode::kFlushDiskTimeout) == Errc::kUnknown);
        CHECK(errc_of(ResponseCode::kSlaveNotAvailable) == Errc::kUnknown);
        CHECK(errc_of(static_cast<ResponseCode>(4711)) == Errc::kUnknown);
        CHECK(errc_of(ResponseCode::kFlowControl) == Errc::kBusy);
    }

    TEST_CASE("what is lost and what the disk did not give have codes of their own, natively") {
        CHECK(errc_of(ResponseCode::kDataLost) == Errc::kCorrupt);
        CHECK(errc_of(ResponseCode::kIoError) == Errc::kIo);
        CHECK(errc_of(ResponseCode::kSystemError) == Errc::kIo);
        CHECK(response_code(Errc::kIo, Codec::kNative) == ResponseCode::kIoError);
        CHECK(response_code(Errc::kIo, Codec::kJson) == ResponseCode::kSystemError);
        CHECK(name_of(ResponseCode::kDataLost) == "DATA_LOST");
        CHECK(name_of(ResponseCode::kIoError) == "IO_ERROR");
    }

    TEST_CASE("codes have names") {
        CHECK(name_of(RequestCode::kSendMessageV2) == "SEND_MESSAGE_V2");
        CHECK(name_of(RequestCode::kWatchRoutes) == "WATCH_ROUTES");
        CHECK(name_of(ResponseCode::kPullOffsetMoved) == "PULL_OFFSET_MOVED");
        CHECK(name_of(RequestCode::kSendMessage) == "SEND_MESSAGE");
        CHECK(name_of(RequestCode::kGetTopicConfig) == "GET_TOPIC_CONFIG");
        CHECK(name_of(RequestCode::kListGroups) == "LIST_GROUPS");
        CHECK(name_of(ResponseCode::kSuccess) == "SUCCESS");
        CHECK(name_of(ResponseCode::kUnknownOutcome) == "UNKNOWN_OUTCOME");
        CHECK(name_of(static_cast<RequestCode>(4711)).empty());
        CHECK(name_of(static_cast<RequestCode>(-1)).empty());
    }
}

}  // namespace gantry::wire
