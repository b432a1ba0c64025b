// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Requests, replies and traces as every user writes them. */
final class ReplySuite {
    private static final int REQUESTS = 50;
    private static final long LIMIT_MS = 60_000;

    private final String nameserver;
    private final Checks checks;
    private final DefaultMQProducer producer =
        new DefaultMQProducer("interop-asking", true, null);
    private final DefaultMQProducer replier = new DefaultMQProducer("interop-replying");

    ReplySuite(String nameserver, Checks checks) {
        this.nameserver = nameserver;
        this.checks = checks;
    }

    void run() throws Exception {
        producer.setNamesrvAddr(nameserver);
        producer.setInstanceName("asking");
        producer.start();
        replier.setNamesrvAddr(nameserver);
        replier.setInstanceName("replying");
        replier.start();
        final DefaultMQPushConsumer consumer = consumer();
        checks.check("replies: requests get their replies, one after the other", () -> {
            for (int n = 0; n < REQUESTS; ++n) {
                Checks.equal("reply", "re question-" + n, text(ask("question-" + n).get()));
            }
        });
        checks.check("replies: requests get their replies, all at once", () -> {
            final List<CompletableFuture<Message>> replies = new ArrayList<>();
            for (int n = 0; n < REQUESTS; ++n) {
                replies.add(ask("async-" + n));
            }
            for (int n = 0; n < REQUESTS; ++n) {
                Checks.equal("reply", "re async-" + n, text(replies.get(n).get()));
            }
        });
        checks.check("replies: without one the request times out", () -> {
            final CompletableFuture<Message> silent = new CompletableFuture<>();
            producer.request(request("silence"), callback(silent), 1_500);
            try {
                silent.get();
                throw new AssertionError("a reply");
            } catch (ExecutionException error) {
                Checks.equal("error", RequestTimeoutException.class, error.getCause().getClass());
            }
        });
        checks.check("traces: queryMsgTraceById finds what a traced producer sent", this::trace);
        consumer.shutdown();
        producer.shutdown();
        replier.shutdown();
    }

    private void trace() throws Exception {
        final SendResult sent = producer.send(request("silence"));
        final DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName("interop-tracing");
        admin.start();
        final String body = Checks.eventually(LIMIT_MS, () -> {
            final QueryResult found = admin.queryMessage("RMQ_SYS_TRACE_TOPIC", sent.getMsgId(),
                64, 0, System.currentTimeMillis() + 60_000);
            return text(found.getMessageList().get(0));
        });
        Checks.isTrue("trace " + body, body.contains("Pub") && body.contains(sent.getMsgId()));
        admin.shutdown();
    }

    /**
     * By callback, which the clients 5.3.1 and later first call without a message, when the request
     * is stored; their request that waits returns then, whatever the broker (apache/rocketmq#9319).
     */
    private CompletableFuture<Message> ask(String body) throws Exception {
        final CompletableFuture<Message> reply = new CompletableFuture<>();
        producer.request(request(body), callback(reply), LIMIT_MS);
        return reply;
    }

    private static RequestCallback callback(CompletableFuture<Message> reply) {
        return new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                if (message != null) {
                    reply.complete(message);
                }
            }

            @Override
            public void onException(Throwable error) {
                reply.completeExceptionally(error);
            }
        };
    }

    private static Message request(String body) {
        return new Message(Main.REPLY_TOPIC, body.getBytes(StandardCharsets.UTF_8));
    }

    private static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private DefaultMQPushConsumer consumer() throws Exception {
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("interop-answers");
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(Main.REPLY_TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (!text(message).startsWith("silence")) {
                    reply(message);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private void reply(MessageExt request) {
        try {
            final byte[] body = ("re " + text(request)).getBytes(StandardCharsets.UTF_8);
            replier.send(MessageUtil.createReplyMessage(request, body), 3_000);
        } catch (Exception error) {
            System.err.println("reply failed: " + error);
        }
    }
}
