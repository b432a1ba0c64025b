// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/flow/flow_gate.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/record.h"
#include "storage/types.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

class Dispatcher;
class TopicCreator;

/// Takes messages from producers: records in stored form from Gantry's clients (10001), plain
/// messages and batches from stock clients (10, 310, 320), those of them that are to wait, and half
/// messages of transactions from either (10, 310 with sysFlag prepared or TRAN_MSG).
///
///   error                                native          stock
///   unknown topic                        kTopicNotExist  17
///   topic takes no writes, is reserved   kNoPermission   16
///   queue id outside the topic           refused         1
///   message or batch illegal, too large  refused         13
///   disk full, read-only store           10001, 10002    14
///   disk slower than the senders         2               2
///   fewer copies in sync than are needed 10101           14
///   not the master                       10100           14
///   stored, its sync failed              10004           10, with a send's fields
///   stored, deposed before all had it    10004           12, with a send's fields
///   numbered, one before it is missing   10007
///   numbered, its numbers are unknown    10008
///   a limit of rates is reached          215             2, both with retryAfterMillis
///
/// A numbered send that was stored before is answered as it was then, and no sooner: once the first
/// one is durable.
///
/// Threads   any loop.
class SendHandler {
public:
    SendHandler(Context& context, TopicCreator& creator);

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    using Request = wire::SendMessageRequest;

    void send_records(Call& call);
    void send_message(Call& call, const Request& request);

    /// `limited`: why it was not even tried. `delayed`: the answer, when the frame is to wait.
    Result<storage::Appended> append_frame(Call& call,
                                           const wire::SendRecordsRequest& request,
                                           const FlowAmount& amount,
                                           std::optional<FlowRefusal>& limited,
                                           std::optional<wire::SendRecordsResponse>& delayed);
    /// Why a send to the topic would not be safe enough; nothing is appended then.
    std::optional<std::string> lacks_copies(Call& call, std::string_view topic) const;
    void answer_stored(Call& call, const storage::Appended& appended);
    void refuse_records(Call& call, const Error& error);
    void answer_repeat(Call& call, const storage::Appended& stored, bool is_delayed);
    void reply_when_durable(Call& call, LogOffset end, const wire::SendRecordsResponse& response);

    Result<storage::Topic*> find_topic(Call& call, std::string_view name) const;
    Result<storage::Queue*> find_queue(storage::Topic& topic, std::int32_t queue_id) const;
    Result<storage::Topic*> topic_for_stock(Call& call, const Request& request) const;
    bool is_dead(const Call& call, const Request& request) const;
    Result<std::vector<wire::Record>> records_of(const Call& call,
                                                 const Request& request,
                                                 std::vector<std::string>& properties) const;
    void store_stock(Call& call,
                     const Request& request,
                     storage::Queue& queue,
                     std::vector<wire::Record>& records,
                     AckAt ack_at);
    void store_half(Call& call, const Request& request, const wire::Record& message);
    void acknowledge(Call& call,
                     const Request& request,
                     const storage::Appended& appended,
                     const wire::SendMessageResponse& response,
                     AckAt ack_at);
    wire::SendMessageResponse response_of(std::int32_t queue_id,
                                          const storage::Appended& appended,
                                          const std::vector<wire::Record>& records) const;

    Context& context_;
    TopicCreator& creator_;
};

}  // namespace gantry::broker
