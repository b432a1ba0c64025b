// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/message_handler.h"

#include "broker/dispatcher.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr std::int32_t kCountMax = 256;
constexpr std::int32_t kUniqueKeyCount = 32;
constexpr std::size_t kBytesMax = std::size_t{8} << 20U;

Answer find_messages(const storage::Store& store, const storage::Store::KeyQuery& query) {
    Answer answer;
    auto fields = std::make_shared<wire::QueryMessageResponse>();
    fields->set_indexlastupdatetimestamp(0);
    fields->set_indexlastupdatephyoffset(store.watermarks().appended.value);
    for (const LogOffset at : store.find_by_key(query)) {
        // A record damaged on disk must not hide the others.
        const Result<std::string> record = store.record_at(at);
        if (!record) {
            continue;
        }
        if (!answer.body.empty() && answer.body.size() + record->size() > kBytesMax) {
            break;
        }
        answer.body += *record;
    }
    if (answer.body.empty()) {
        answer.code = ResponseCode::kQueryNotFound;
        answer.remark = "can not find message, maybe time range not correct";
    }
    answer.fields = std::move(fields);
    return answer;
}

/// Why a message cannot be shown, for native clients.
ResponseCode native_code(Errc why) {
    switch (why) {
        case Errc::kCorrupt:
            return ResponseCode::kDataLost;
        case Errc::kIo:
            return ResponseCode::kIoError;
        default:
            return ResponseCode::kQueryNotFound;
    }
}

}  // namespace

void MessageHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kViewMessageById, *this, &MessageHandler::view);
    dispatcher.add(RequestCode::kQueryMessage, *this, &MessageHandler::query);
}

void MessageHandler::view(Call& call, const wire::ViewMessageRequest& request) {
    const bool is_native = call.is_native();
    answer_from_pool(call, [store = context_.store, at = LogOffset(request.offset()), is_native] {
        Answer answer;
        Result<std::string> record = store->record_at(at);
        if (record) {
            answer.body = std::move(record).value();
        } else {
            answer.code = is_native ? native_code(record.error().code) : ResponseCode::kSystemError;
            answer.remark = "can not find message by the offset: " + std::to_string(at.value) +
                            " (" + record.error().detail + ")";
        }
        return answer;
    });
}

void MessageHandler::query(Call& call, const wire::QueryMessageRequest& request) {
    const bool is_unique = request.uniquekeyquery() == "true";
    const std::int32_t wanted =
        is_unique ? kUniqueKeyCount : std::clamp(request.maxnum(), 1, kCountMax);
    answer_from_pool(
        call,
        [store = context_.store, request = request, count = static_cast<std::uint32_t>(wanted)] {
            storage::Store::KeyQuery query;
            query.topic = request.topic();
            query.key = request.key();
            query.begin = request.begintimestamp();
            query.end = request.endtimestamp();
            query.count_max = count;
            return find_messages(*store, query);
        });
}

}  // namespace gantry::broker
