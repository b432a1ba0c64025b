// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/call.h"
#include "broker/pop/pop_service.h"
#include "protocol/wire/message.pb.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::broker {

class Dispatcher;

/// Pops: hands messages out (200050), takes acknowledgements (200051, 200151), changes how long
/// messages are kept from others (200053), and the last two for many messages at once (10050).
///
///   pop                          code
///   messages                     0     their receipt is popTime, which clients show later
///   none until pollTime is over  210
///   too many wait                209
///
/// Checks of a pop, in this order: group (26, 16), topic (17, 16), queue id (1), numbers (29),
/// order (1, natively not supported), expression (23, 1).
///
/// An acknowledgement that comes too late, or twice, succeeds and changes nothing; the native one
/// says how many messages it ended. A change of times by who is not the owner any more is refused
/// (13), natively it says that it changed none.
///
/// Threads   any loop.
class PopHandler {
public:
    PopHandler(Context& context, PopService& pops) : context_(context), pops_(pops) {}

    /// Registers the requests above at `dispatcher`; this object outlives it.
    void add_to(Dispatcher& dispatcher);

private:
    /// Why a request was refused, with the number stock clients know.
    struct Refusal {
        wire::ResponseCode code;
        std::string remark;
    };

    void pop(Call& call, const wire::PopMessageRequest& request);
    void acknowledge(Call& call, const wire::AckMessageRequest& request);
    void acknowledge_many(Call& call);
    void change_time(Call& call, const wire::ChangeInvisibleTimeRequest& request);
    void settle(Call& call, const wire::SettlePopsRequest& request);

    std::optional<Refusal> check_group(const Call& call, const std::string& name) const;
    std::optional<Refusal> check_topic(const Call& call,
                                       const std::string& name,
                                       std::int32_t queue_id,
                                       storage::Topic*& topic) const;
    std::optional<Refusal> check_numbers(const Call& call,
                                         const wire::PopMessageRequest& request) const;
    std::optional<Refusal> check_expression(const Call& call,
                                            const wire::PopMessageRequest& request,
                                            PopQuery& query) const;
    std::optional<Refusal> check_time(const Call& call, std::int64_t invisible_ms) const;
    std::optional<Refusal> check_ack(const Call& call,
                                     const wire::BatchAckRequestBody::Ack& ack) const;
    std::optional<Refusal> check_settles(const Call& call,
                                         const wire::SettlePopsRequest& request) const;

    /// What a receipt for one message stands for.
    template <class Request>
    std::optional<Refusal> check_receipt(const Call& call,
                                         const Request& request,
                                         storage::Topic*& topic,
                                         PopService::Piece& piece) const;

    Context& context_;
    PopService& pops_;
};

}  // namespace gantry::broker
