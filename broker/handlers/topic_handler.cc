// SPDX-License-Identifier: Apache-2.0
#include "broker/handlers/topic_handler.h"

#include "broker/delivery/delay_service.h"
#include "broker/dispatcher.h"
#include "broker/handlers/topic_attributes.h"
#include "broker/registrar.h"
#include "broker/topic_creator.h"
#include "common/log.h"
#include "protocol/wire/header.h"
#include "protocol/wire/names.h"
#include "storage/state_machine.h"

#include <algorithm>
#include <memory>
#include <set>

namespace gantry::broker {

namespace {

using wire::RequestCode;
using wire::ResponseCode;

constexpr Logger kLog("broker");
constexpr std::int32_t kPermMax =
    storage::perm::kRead | storage::perm::kWrite | storage::perm::kInherit;

Status check_range(std::string_view field, std::int32_t value, std::int32_t max) {
    if (value < 0 || value > max) {
        return Error{Errc::kRefused,
                     std::string(field) + " " + std::to_string(value) + " is outside 0.." +
                         std::to_string(max)};
    }
    return ok();
}

}  // namespace

void TopicHandler::add_to(Dispatcher& dispatcher) {
    dispatcher.add(RequestCode::kUpdateAndCreateTopic, *this, &TopicHandler::put);
    dispatcher.add(RequestCode::kDeleteTopicInBroker, *this, &TopicHandler::remove);
    dispatcher.add(RequestCode::kGetAllTopicConfig, *this, &TopicHandler::list);
    dispatcher.add(RequestCode::kGetTopicConfig, *this, &TopicHandler::get);
    dispatcher.add(RequestCode::kGetSystemTopicListFromBroker, *this, &TopicHandler::list_system);
    dispatcher.add(RequestCode::kGetTopicStatsInfo, *this, &TopicHandler::statistics);
    dispatcher.add(RequestCode::kQueryTopicConsumeByWho, *this, &TopicHandler::consumers);
}

Status TopicHandler::check_put(const wire::CreateTopicRequest& request) const {
    GANTRY_TRY(wire::check_topic_name(request.topic()));
    if (wire::is_system_topic(request.topic())) {
        return Error{Errc::kRefused,
                     "The topic[" + request.topic() + "] is conflict with system topic."};
    }
    constexpr std::int32_t kMax = storage::kQueuesPerTopicMax;
    GANTRY_TRY(check_range("readQueueNums", request.readqueuenums(), kMax));
    GANTRY_TRY(check_range("writeQueueNums", request.writequeuenums(), kMax));
    GANTRY_TRY(check_range("perm", request.perm(), kPermMax));
    if (request.readqueuenums() == 0 && request.writequeuenums() == 0) {
        return Error{Errc::kRefused, "readQueueNums and writeQueueNums are both 0"};
    }
    const storage::Topic* const topic = context_.store->find_topic(request.topic());
    if (topic != nullptr && request.createonly()) {
        return Error{Errc::kConflict, "topic[" + request.topic() + "] exists"};
    }
    if (topic == nullptr && request.updateonly()) {
        return Error{Errc::kNotFound, "topic[" + request.topic() + "] not exist"};
    }
    if (topic != nullptr && request.readqueuenums() < topic->write_queues() &&
        request.readqueuenums() < topic->read_queues()) {
        // Legal, as a drained queue may go; but what lies in the cut queues is out of reach.
        kLog.warn("topic_shrinks_readable_queues",
                  {{"topic", request.topic()},
                   {"from", topic->read_queues()},
                   {"to", request.readqueuenums()}});
    }
    return ok();
}

void TopicHandler::put(Call& call, const wire::CreateTopicRequest& request) {
    if (const Status checked = check_put(request); !checked) {
        const bool is_missing = checked.error().code == Errc::kNotFound;
        call.fail(checked.error(),
                  is_missing ? ResponseCode::kTopicNotExist : ResponseCode::kSystemError);
        return;
    }
    wire::StateRecord record;
    wire::TopicConfig& config = *record.add_changes()->mutable_topicput();
    config = make_topic_config(request.topic(), request.readqueuenums(), request.perm());
    config.set_writequeuenums(request.writequeuenums());
    config.set_topicsysflag(request.topicsysflag());
    config.set_order(request.order());
    if (!request.topicfiltertype().empty()) {
        config.set_topicfiltertype(request.topicfiltertype());
    }
    if (const auto before = context_.store->state().topic(request.topic())) {
        *config.mutable_attributes() = before->attributes();
    }
    const Status attributes =
        change_attributes(request.attributes(), retention_options(context_.options), config);
    if (!attributes) {
        call.fail(attributes.error(), ResponseCode::kSystemError);
        return;
    }
    finish(call, creator_.commit(call.loop, record));
}

void TopicHandler::remove(Call& call, const wire::TopicRequest& request) {
    storage::Topic* const topic = context_.store->find_topic(request.topic());
    if (wire::is_system_topic(request.topic())) {
        call.fail(
            {Errc::kRefused, "The topic[" + request.topic() + "] is conflict with system topic."},
            ResponseCode::kSystemError);
        return;
    }
    if (topic == nullptr) {
        if (call.is_native()) {
            call.fail({Errc::kNotFound, "topic[" + request.topic() + "] not exist"});
        } else {
            call.reply();
        }
        return;
    }
    wire::StateRecord record;
    record.add_changes()->set_topicdelete(request.topic());
    const Result<storage::Appended> logged = creator_.commit(call.loop, record);
    if (logged) {
        call.loop.topic_changed(*topic);
    }
    finish(call, logged);
}

void TopicHandler::finish(const Call& call, const Result<storage::Appended>& logged) const {
    if (!logged) {
        call.fail(logged.error());
        return;
    }
    call.loop.when_durable(
        logged->end,
        [&loop = call.loop, to = call.addressee(), registrar = context_.registrar](
            const Status& status) {
            if (!status) {
                loop.fail(to, status.error());
                return;
            }
            registrar->when_announced([&loop, to] {
                loop.post([&loop, to] { loop.reply(to, ResponseCode::kSuccess, {}); });
            });
        });
}

void TopicHandler::list(Call& call) {
    wire::TopicConfigTable table;
    *table.mutable_dataversion() = context_.store->state().topic_version();
    for (wire::TopicConfig& config : context_.store->state().topics()) {
        if (!wire::is_internal_topic(config.topicname())) {
            (*table.mutable_topicconfigtable())[config.topicname()] = std::move(config);
        }
    }
    call.reply_body(table);
}

void TopicHandler::get(Call& call, const wire::TopicRequest& request) {
    const auto config = context_.store->state().topic(request.topic());
    if (!config || wire::is_internal_topic(request.topic())) {
        call.fail(ResponseCode::kTopicNotExist,
                  "No topic in this broker. topic: " + request.topic());
        return;
    }
    call.reply_body(*config);
}

void TopicHandler::list_system(Call& call) {
    wire::TopicList list;
    list.set_brokeraddr(context_.address);
    for (const storage::Topic* const topic : context_.store->topics()) {
        if (wire::is_system_topic(topic->name()) && !wire::is_internal_topic(topic->name())) {
            list.add_topiclist(topic->name());
        }
    }
    call.reply_body(list);
}

void TopicHandler::statistics(Call& call, const wire::TopicRequest& request) {
    storage::Topic* const topic = context_.store->find_topic(request.topic());
    if (topic == nullptr || wire::is_internal_topic(request.topic())) {
        call.fail(ResponseCode::kTopicNotExist, "topic[" + request.topic() + "] not exist");
        return;
    }
    answer_from_pool(call, [&context = context_, topic, codec = call.to.codec] {
        wire::TopicStatsTable table;
        const std::int32_t queues = std::max(topic->read_queues(), topic->write_queues());
        for (std::int32_t i = 0; i < queues; ++i) {
            storage::Queue* const queue = topic->queue(i);
            if (queue == nullptr) {
                break;
            }
            const QueueOffset max = context.store->confirmed_max(*queue);
            const QueueOffset min = queue->min();
            auto& entry = *table.add_offsettable();
            entry.mutable_key()->set_brokername(context.options.name);
            entry.mutable_key()->set_queueid(i);
            entry.mutable_key()->set_topic(topic->name());
            entry.mutable_value()->set_minoffset(min.value);
            entry.mutable_value()->set_maxoffset(max.value);
            const WallMs last = max > min ? context.store->store_time_at(*queue, max - 1) : 0;
            entry.mutable_value()->set_lastupdatetimestamp(std::max<WallMs>(last, 0));
        }
        Answer answer;
        wire::append_body(answer.body, codec, table);
        return answer;
    });
}

void TopicHandler::consumers(Call& call, const wire::TopicRequest& request) {
    std::set<std::string> names;
    for (std::string& group : context_.groups.groups(request.topic())) {
        names.insert(std::move(group));
    }
    for (const wire::OffsetPut& put : context_.store->state().offsets_of_topic(request.topic())) {
        if (put.group() != DelayService::kGroup) {
            names.insert(put.group());
        }
    }
    wire::GroupNames list;
    for (const std::string& name : names) {
        list.add_grouplist(name);
    }
    call.reply_body(list);
}

}  // namespace gantry::broker
