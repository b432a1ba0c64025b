// SPDX-License-Identifier: Apache-2.0
#include "client/admin/dead_letter_copies.h"

#include "protocol/wire/properties.h"

#include <cstddef>
#include <memory>
#include <utility>

namespace gantry::client {
namespace {

/// Bits that say what the body is: compressed, and how; several tags. All others speak of the
/// record they are in.
constexpr std::int32_t kBodyFlags = 0x703;

constexpr std::int32_t kAnyQueue = -1;

std::string properties_of(const wire::Record& record, bool is_retry) {
    std::string properties(record.properties);
    // How it was once to be delivered or acknowledged, and what the broker adds by itself. Its time
    // to live as well: who redrives it wants it delivered, though its time may be over.
    for (const std::string_view name : {wire::property::kDelay,
                                        wire::property::kRealTopic,
                                        wire::property::kRealQueueId,
                                        wire::property::kHalf,
                                        wire::property::kWait,
                                        wire::property::kExpiresAt,
                                        wire::property::kSendNumber,
                                        wire::property::kCluster}) {
        properties = wire::without_property(properties, name);
    }
    if (!is_retry) {
        properties = wire::without_property(properties, wire::property::kRetryTopic);
        properties = wire::without_property(properties, wire::property::kOriginMessageId);
    }
    return properties;
}

/// Collects what came of several sends. Threads: one loop's.
class Sending {
public:
    using Done = std::function<void(std::vector<Status>)>;

    Sending(std::size_t count, Done done)
        : statuses_(count, ok()), left_(count), done_(std::move(done)) {}

    void set(std::size_t index, Status status) {
        statuses_[index] = std::move(status);
        if (--left_ == 0) {
            done_(std::move(statuses_));
        }
    }

private:
    std::vector<Status> statuses_;
    std::size_t left_;
    Done done_;
};

}  // namespace

DeadLetterCopy copy_of(const wire::Record& record, std::string_view topic, bool is_retry) {
    DeadLetterCopy copy;
    wire::SendMessageRequest& fields = copy.fields;
    fields.set_producergroup("GANTRY_REDRIVE");
    fields.set_topic(std::string(topic));
    fields.set_defaulttopic("");
    fields.set_defaulttopicqueuenums(0);
    fields.set_queueid(kAnyQueue);
    fields.set_sysflag(record.sys_flag & kBodyFlags);
    fields.set_borntimestamp(record.born_ms);
    fields.set_flag(record.flag);
    fields.set_properties(properties_of(record, is_retry));
    fields.set_reconsumetimes(0);
    copy.body = as_text(record.body);
    return copy;
}

std::vector<Status> send_copies(AdminCalls& calls,
                                const std::string& address,
                                const std::vector<DeadLetterCopy>& copies) {
    if (copies.empty()) {
        return {};
    }
    return wait_for<std::vector<Status>>([&](auto done) {
        auto sending = std::make_shared<Sending>(copies.size(), std::move(done));
        LoopSlot& slot = calls.runtime().control();
        slot.run_and_wait([&] {
            for (std::size_t i = 0; i < copies.size(); ++i) {
                slot.channel(address).call(
                    {wire::RequestCode::kSendMessage, &copies[i].fields, copies[i].body},
                    calls.timeout(),
                    [sending, i, address](Result<net::Received>& result) {
                        sending->set(
                            i, result ? check_response(*result, address) : Status(result.error()));
                    });
            }
        });
    });
}

}  // namespace gantry::client
