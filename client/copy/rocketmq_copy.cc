// SPDX-License-Identifier: Apache-2.0
#include "client/copy/rocketmq_copy.h"

#include "client/produce/compress.h"
#include "client/produce/record_writer.h"
#include "protocol/wire/batch.h"

#include <string>
#include <utility>

namespace gantry::client {
namespace {

constexpr std::size_t kBatchBytesMax = std::size_t{2} << 20U;  // a broker takes 4 MiB, unless set
constexpr std::size_t kRecordOverhead = 256;                   // beside body and properties, about
constexpr WallMs kBornApart = 1'000;
constexpr std::uint32_t kOwnPropertyBytes = 128;  // of copied_property, at most

/// Gathers messages to batches, in order.
class Requests {
public:
    Requests(const CopiedFrame& frame, const std::string& group) : frame_(frame), group_(group) {}

    void add(Message message, const CopiedMessage& copied, std::int32_t flags) {
        const std::size_t bytes = message.body.size() + kRecordOverhead;
        const bool is_alone = travels_alone(message, flags);
        const bool fits = !is_alone && count_ > 0 && count_ < CopyProducer::kBatchMessagesMax &&
                          bytes_ + bytes <= kBatchBytesMax &&
                          std::abs(copied.born_ms - born_ms_) <= kBornApart;
        if (!fits) {
            close();
            born_ms_ = copied.born_ms;
        }
        if (copied.born_ms != born_ms_) {
            message.properties.emplace_back(copied_property::kBornMs,
                                            std::to_string(copied.born_ms));
        }
        std::string properties = stored_properties(message, copied.born_ms);
        bytes_ += bytes + properties.size();
        if (++count_ == 1) {
            flags_ = flags;
            flag_ = message.flag;
            body_ = std::move(message.body);
            properties_ = std::move(properties);
        } else {
            if (count_ == 2) {
                const std::string first = std::exchange(body_, {});
                wire::append_batch_element(body_, {flag_, as_bytes(first), properties_});
            }
            wire::append_batch_element(body_, {message.flag, as_bytes(message.body), properties});
        }
        if (is_alone) {
            close();
        }
    }

    std::vector<RocketMqSend> end() {
        close();
        return std::move(requests_);
    }

private:
    void close() {
        if (count_ == 0) {
            return;
        }
        const bool is_batch = count_ > 1;
        RocketMqSend& send = requests_.emplace_back();
        send.fields = rocketmq_fields(frame_.queue, group_, born_ms_, is_batch);
        if (is_batch) {
            send.code = wire::RequestCode::kSendBatchMessage;
        } else {
            send.fields.set_sysflag(flags_);
            send.fields.set_flag(flag_);
            send.fields.set_properties(properties_);
        }
        send.body = std::exchange(body_, {});
        count_ = bytes_ = 0;
    }

    const CopiedFrame& frame_;
    const std::string& group_;
    std::vector<RocketMqSend> requests_;
    std::size_t count_ = 0;  ///< of messages in the one that is gathered
    std::size_t bytes_ = 0;
    WallMs born_ms_ = 0;
    std::string body_;  ///< of the only message, or elements of a batch
    // Of the first message:
    std::int32_t flags_ = 0;
    std::int32_t flag_ = 0;
    std::string properties_;
};

}  // namespace

Result<std::vector<RocketMqSend>> rocketmq_copy(const CopiedFrame& frame,
                                                const CopyProducer::Options& options) {
    const MessageLimits limits{options.message_bytes_max, kOwnPropertyBytes};
    Requests requests(frame, options.group);
    for (const CopiedMessage& copied : frame.messages) {
        GANTRY_TRY(check_sizes(copied.message, limits));
        Message message = copied.message;
        if (!copied.born_host.empty()) {
            message.properties.emplace_back(copied_property::kBornHost, copied.born_host);
        }
        const std::int32_t flags = compress_body(message.body, options.compression);
        requests.add(std::move(message), copied, flags);
    }
    return requests.end();
}

}  // namespace gantry::client
