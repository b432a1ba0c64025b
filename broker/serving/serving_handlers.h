// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "broker/assignment/share_service.h"
#include "broker/delivery/delay_service.h"
#include "broker/dispatcher.h"
#include "broker/flow/flow_handler.h"
#include "broker/handlers/describe_handler.h"
#include "broker/handlers/group_admin_handler.h"
#include "broker/handlers/group_handler.h"
#include "broker/handlers/message_handler.h"
#include "broker/handlers/number_handler.h"
#include "broker/handlers/offset_handler.h"
#include "broker/handlers/pull_handler.h"
#include "broker/handlers/send_back_handler.h"
#include "broker/handlers/send_handler.h"
#include "broker/handlers/topic_handler.h"
#include "broker/handlers/transaction_handler.h"
#include "broker/order/parked_key_handler.h"
#include "broker/order/queue_lock_handler.h"
#include "broker/pop/pop_handler.h"
#include "broker/pop/pop_service.h"
#include "broker/registrar.h"
#include "broker/replication/replica_handler.h"
#include "broker/reply/reply_handler.h"
#include "broker/serving/serving.h"
#include "broker/timers/timer_handler.h"
#include "broker/timers/timer_service.h"
#include "broker/topic_creator.h"
#include "broker/transaction/transaction_checker.h"
#include "broker/transaction/transaction_service.h"

#include <memory>

namespace gantry::broker {

/// The handlers of one serving layer and what only they and it share.
struct Serving::Handlers {
    /// Registers all of them.
    explicit Handlers(Context& context)
        : creator(context),
          send(context, creator),
          pull(context),
          offset(context),
          topic(context, creator),
          group(context, creator),
          group_admin(context, creator),
          message(context),
          send_back(context, creator),
          queue_lock(context),
          parked_key(context),
          transaction(context),
          timer(context),
          describe(context),
          flow(context, creator),
          numbers(context),
          reply(context, creator),
          replica(context),
          pops(context, creator),
          pop(context, pops),
          shares(context),
          transactions(context, creator) {
        send.add_to(dispatcher);
        pull.add_to(dispatcher);
        offset.add_to(dispatcher);
        topic.add_to(dispatcher);
        group.add_to(dispatcher);
        group_admin.add_to(dispatcher);
        message.add_to(dispatcher);
        send_back.add_to(dispatcher);
        queue_lock.add_to(dispatcher);
        parked_key.add_to(dispatcher);
        transaction.add_to(dispatcher);
        timer.add_to(dispatcher);
        describe.add_to(dispatcher);
        pop.add_to(dispatcher);
        shares.add_to(dispatcher);
        flow.add_to(dispatcher);
        numbers.add_to(dispatcher);
        reply.add_to(dispatcher);
        replica.add_to(dispatcher);
    }

    /// Destroys what lives on the loops, which have stopped.
    void close() {
        replica.close();
        expiry.reset();
        stalls.reset();
        registrar.reset();
        delay.reset();
        timers.reset();
        transaction_checker.reset();
        pops.close();
        shares.close();
    }

    Dispatcher dispatcher;
    TopicCreator creator;
    SendHandler send;
    PullHandler pull;
    OffsetHandler offset;
    TopicHandler topic;
    GroupHandler group;
    GroupAdminHandler group_admin;
    MessageHandler message;
    SendBackHandler send_back;
    QueueLockHandler queue_lock;
    ParkedKeyHandler parked_key;
    TransactionHandler transaction;
    TimerHandler timer;
    DescribeHandler describe;
    FlowHandler flow;
    NumberHandler numbers;
    ReplyHandler reply;
    ReplicaHandler replica;
    PopService pops;
    PopHandler pop;
    ShareService shares;
    TransactionService transactions;
    std::unique_ptr<TransactionChecker> transaction_checker;
    std::unique_ptr<DelayService> delay;
    std::unique_ptr<TimerService> timers;
    std::unique_ptr<Registrar> registrar;
    std::unique_ptr<net::Timer> expiry;
    std::unique_ptr<net::Timer> stalls;
};

}  // namespace gantry::broker
