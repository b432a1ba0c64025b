// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "protocol/wire/codes.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/properties.h"
#include "protocol/wire/record.h"
#include "protocol/wire/send_number.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

namespace gantry::client::test {

/// What a fake broker knows of numbered sends, and does not forget by itself.
class FakeNumbers {
public:
    /// The numbers of one producer in one queue.
    struct Known {
        std::uint32_t epoch = 0;
        std::int64_t next = 0;
        std::map<std::int64_t, wire::SendRecordsResponse> answers;  ///< by sequence
    };

    using Key = std::tuple<std::string, std::int32_t, std::uint64_t>;  ///< topic, queue, producer

    /// The number of a frame of records; nothing when it has none.
    static std::optional<wire::SendNumber> number_of(Bytes records) {
        const auto first = wire::parse_record(records);
        if (!first || (first->sys_flag & wire::sys_flag::kNumbered) == 0) {
            return std::nullopt;
        }
        return wire::parse_send_number(
                   wire::find_property(first->properties, wire::property::kSendNumber))
            .value();
    }

    /// Why it is not to be stored: out of turn; kSuccess: it is.
    wire::ResponseCode judge(const Key& key, const wire::SendNumber& number) const {
        const auto at = known.find(key);
        if (at == known.end() || number.epoch > at->second.epoch) {
            return number.sequence == 0 ? wire::ResponseCode::kSuccess
                                        : wire::ResponseCode::kNumbersUnknown;
        }
        if (number.epoch < at->second.epoch) {
            return wire::ResponseCode::kNumbersUnknown;
        }
        return number.sequence > at->second.next ? wire::ResponseCode::kSequenceGap
                                                 : wire::ResponseCode::kSuccess;
    }

    /// The answer of one that was stored before.
    std::optional<wire::SendRecordsResponse> stored(const Key& key,
                                                    const wire::SendNumber& number) const {
        const auto at = known.find(key);
        if (at == known.end() || at->second.epoch != number.epoch) {
            return std::nullopt;
        }
        const auto answer = at->second.answers.find(number.sequence);
        return answer == at->second.answers.end() ? std::nullopt : std::optional(answer->second);
    }

    void note(const Key& key,
              const wire::SendNumber& number,
              std::uint32_t count,
              const wire::SendRecordsResponse& answer) {
        Known& of = known[key];
        if (of.epoch != number.epoch) {
            of = {};
            of.epoch = number.epoch;
        }
        of.next = number.sequence + count;
        of.answers[number.sequence] = answer;
    }

    std::map<Key, Known> known;
};

}  // namespace gantry::client::test
