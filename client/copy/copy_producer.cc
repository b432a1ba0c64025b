// SPDX-License-Identifier: Apache-2.0
#include "client/copy/copy_producer.h"

#include "client/copy/rocketmq_copy.h"
#include "client/core/awaited.h"
#include "client/core/heartbeats.h"
#include "client/core/loop_slot.h"
#include "client/core/routes.h"
#include "client/core/runtime.h"
#include "client/produce/compress.h"
#include "client/produce/record_writer.h"
#include "protocol/wire/message.pb.h"
#include "protocol/wire/names.h"
#include "protocol/wire/numbers.pb.h"
#include "protocol/wire/numbers/send_span.h"
#include "protocol/wire/record.h"

#include <utility>

namespace gantry::client {
namespace {

constexpr std::uint32_t kSpanBytesMax = 16;  // of the property

/// A frame on its way to a RocketMQ broker.
struct RocketMqFlight {
    std::string address;
    std::vector<RocketMqSend> requests;
    std::size_t next = 0;
    SendReceipt receipt;
    CopyProducer::Done done;
};

}  // namespace

struct CopyProducer::State {
    State(std::shared_ptr<Client> its_client, const Options& its_options)
        : client(std::move(its_client)),
          runtime(client->runtime()),
          slot(runtime.next_slot()),
          owner(slot.new_owner()),
          options(its_options) {}

    Result<std::string> address_of(const std::string& topic, const std::string& broker) const {
        const RoutePtr route = runtime.routes().cached(topic);
        const BrokerRoute* const found = route == nullptr ? nullptr : route->find_broker(broker);
        if (found == nullptr || found->master().empty()) {
            return Error{Errc::kGone, "no route names a master of broker " + broker};
        }
        return found->master();
    }

    /// The frame's records as the broker stores them.
    Result<std::string> encode(const CopiedFrame& frame, bool store_v6) const;

    /// Sends the flight's next request, and so on until one fails or all are stored.
    static void step_in_loop(const std::shared_ptr<State>& state,
                             const std::shared_ptr<RocketMqFlight>& flight);

    std::shared_ptr<Client> client;
    Runtime& runtime;
    LoopSlot& slot;
    const std::uint64_t owner;
    const Options options;
};

Result<std::string> CopyProducer::State::encode(const CopiedFrame& frame, bool store_v6) const {
    const MessageLimits limits{options.message_bytes_max, kNumberBytesMax + kSpanBytesMax};
    const wire::Host here = runtime.local_host();
    RecordWriter writer;
    RecordOrigin origin;
    origin.queue_id = frame.queue.queue;
    origin.store_v6 = store_v6;
    std::string records;
    for (const CopiedMessage& copied : frame.messages) {
        GANTRY_TRY(check_sizes(copied.message, limits));
        origin.born_ms = copied.born_ms;
        origin.born_host = here;
        if (!copied.born_host.empty()) {
            GANTRY_ASSIGN_OR_RETURN(origin.born_host, wire::parse_host(copied.born_host));
        }
        writer.set_origin(origin);
        Message message = copied.message;
        const std::int32_t flags = compress_body(message.body, options.compression);
        if (!records.empty()) {
            writer.append(records, message, flags);
            continue;
        }
        message.properties.emplace_back(wire::kSendSpan, wire::format_send_span(frame.span));
        writer.append_first(records, message, flags, {frame.stream, frame.epoch, frame.first});
    }
    return records;
}

void CopyProducer::State::step_in_loop(const std::shared_ptr<State>& state,
                                       const std::shared_ptr<RocketMqFlight>& flight) {
    RocketMqSend& send = flight->requests[flight->next];
    state->slot.channel(flight->address, state->owner)
        .call({send.code, &send.fields, std::move(send.body), true},
              state->options.timeout,
              [state, flight](const Result<net::Received>& result) {
                  const auto stored = read_rocketmq_stored(result, flight->address);
                  if (!stored) {
                      flight->done(stored.error());
                      return;
                  }
                  if (flight->next == 0) {
                      flight->receipt.queue_offset = stored->queue_offset;
                  }
                  if (++flight->next < flight->requests.size()) {
                      step_in_loop(state, flight);
                  } else {
                      flight->done(std::move(flight->receipt));
                  }
              });
}

CopyProducer::CopyProducer(std::shared_ptr<State> state) : state_(std::move(state)) {}

CopyProducer::~CopyProducer() {
    state_->runtime.heartbeats().remove_producer(state_->options.group);
    if (!state_->slot.loop().in_loop()) {
        state_->slot.run_and_wait([this] { state_->slot.drop(state_->owner); });
    }
}

Result<std::unique_ptr<CopyProducer>> CopyProducer::create(std::shared_ptr<Client> client,
                                                           const Options& options) {
    GANTRY_TRY(wire::check_group_name(options.group));
    GANTRY_TRY(check_compression(options.compression));
    if (options.timeout.count() <= 0) {
        return Error{Errc::kRefused,
                     "timeout " + std::to_string(options.timeout.count()) + " is not above 0 ms"};
    }
    auto state = std::make_shared<State>(std::move(client), options);
    state->runtime.heartbeats().add_producer(options.group);
    return std::unique_ptr<CopyProducer>(new CopyProducer(std::move(state)));
}

Status CopyProducer::send_async(const CopiedFrame& frame, Done done) {
    if (frame.messages.empty() || frame.span < frame.messages.size()) {
        return Error{Errc::kRefused,
                     "a frame of " + std::to_string(frame.messages.size()) + " messages and span " +
                         std::to_string(frame.span)};
    }
    GANTRY_ASSIGN_OR_RETURN(const std::string address,
                            state_->address_of(frame.queue.topic, frame.queue.broker));
    if (!has_numbers()) {
        return send_to_rocketmq(frame, address, std::move(done));
    }
    GANTRY_ASSIGN_OR_RETURN(std::string records, state_->encode(frame, address.front() == '['));
    auto fields = std::make_shared<wire::SendRecordsRequest>();
    fields->set_topic(frame.queue.topic);
    fields->set_queueid(frame.queue.queue);
    fields->set_count(static_cast<std::uint32_t>(frame.messages.size()));
    fields->set_haskeys(true);
    fields->set_hastags(true);
    auto ended = std::make_shared<Done>(std::move(done));
    auto body = std::make_shared<std::string>(std::move(records));
    const bool posted =
        state_->slot.post([state = state_, address, fields, body, ended, queue = frame.queue] {
            state->slot.channel(address, state->owner)
                .call({wire::RequestCode::kSendRecords, fields.get(), std::move(*body)},
                      state->options.timeout,
                      [address, ended, queue](Result<net::Received>& result) {
                          const auto answer = fields_of<wire::SendRecordsResponse>(result, address);
                          if (!answer) {
                              (*ended)(answer.error());
                              return;
                          }
                          SendReceipt receipt;
                          receipt.queue = queue;
                          receipt.queue_offset = answer->queueoffset();
                          (*ended)(std::move(receipt));
                      });
        });
    return posted ? ok() : Status(Error{Errc::kBusy, "the client's loop takes no more work"});
}

Status CopyProducer::send_to_rocketmq(const CopiedFrame& frame,
                                      const std::string& address,
                                      Done done) {
    auto flight = std::make_shared<RocketMqFlight>();
    GANTRY_ASSIGN_OR_RETURN(flight->requests, rocketmq_copy(frame, state_->options));
    flight->address = address;
    flight->receipt.queue = frame.queue;
    flight->done = std::move(done);
    const bool posted =
        state_->slot.post([state = state_, flight] { State::step_in_loop(state, flight); });
    return posted ? ok() : Status(Error{Errc::kBusy, "the client's loop takes no more work"});
}

bool CopyProducer::has_numbers() const noexcept {
    return !state_->runtime.is_rocketmq();
}

Result<std::vector<StreamPosition>> CopyProducer::positions(std::string_view topic,
                                                            const std::string& broker) {
    GANTRY_TRY(state_->runtime.need_gantry("where a broker is in a copied queue"));
    GANTRY_TRY(queues(topic));
    GANTRY_ASSIGN_OR_RETURN(const std::string address,
                            state_->address_of(std::string(topic), broker));
    auto fields = std::make_shared<wire::ListSendNumbersRequest>();
    fields->set_topic(std::string(topic));
    auto awaited = std::make_shared<Awaited<Result<wire::SendNumberList>>>();
    const bool posted = state_->slot.post([state = state_, address, fields, awaited] {
        state->slot.channel(address, state->owner)
            .call({wire::RequestCode::kListSendNumbers, fields.get(), {}},
                  state->options.timeout,
                  [address, awaited](Result<net::Received>& result) {
                      awaited->set(body_of<wire::SendNumberList>(result, address));
                  });
    });
    if (!posted) {
        return Error{Errc::kBusy, "the client's loop takes no more work"};
    }
    GANTRY_ASSIGN_OR_RETURN(const wire::SendNumberList list, awaited->wait());
    std::vector<StreamPosition> positions;
    for (const wire::SendNumberList::Entry& entry : list.entries()) {
        positions.push_back({entry.producer(),
                             static_cast<std::int32_t>(entry.queueid()),
                             entry.epoch(),
                             entry.next()});
    }
    return positions;
}

Result<std::vector<QueueId>> CopyProducer::queues(std::string_view topic) {
    GANTRY_TRY(wire::check_topic_name(topic));
    GANTRY_ASSIGN_OR_RETURN(const RoutePtr route,
                            state_->runtime.routes().wait_for(std::string(topic)));
    return route->write_queues;
}

}  // namespace gantry::client
