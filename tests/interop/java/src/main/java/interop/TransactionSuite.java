// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactional producers as every user writes them. */
final class TransactionSuite implements TransactionListener {
    private static final int MESSAGES = 50;
    private static final long LIMIT_MS = 60_000;

    private final String nameserver;
    private final Checks checks;
    private final TransactionMQProducer producer =
        new TransactionMQProducer("interop-transactions");
    private final Map<String, MessageExt> asked = new ConcurrentHashMap<>();
    private final ConcurrentLinkedQueue<String> got = new ConcurrentLinkedQueue<>();

    TransactionSuite(String nameserver, Checks checks) {
        this.nameserver = nameserver;
        this.checks = checks;
    }

    void run() throws Exception {
        producer.setNamesrvAddr(nameserver);
        producer.setTransactionListener(this);
        producer.start();
        final DefaultMQPushConsumer consumer = consumer();
        checks.check("transactions: half messages are accepted", () -> {
            for (int n = 0; n < MESSAGES; ++n) {
                send("commit", n, LocalTransactionState.COMMIT_MESSAGE);
                send("rollback", n, LocalTransactionState.ROLLBACK_MESSAGE);
            }
            send("asked-commit", 0, LocalTransactionState.UNKNOW);
            send("asked-rollback", 0, LocalTransactionState.UNKNOW);
        });
        checks.check("transactions: committed messages come, once, and no others", () -> {
            final Set<String> wanted = new TreeSet<>();
            for (int n = 0; n < MESSAGES; ++n) {
                wanted.add("commit-" + n);
            }
            Checks.within(LIMIT_MS, () -> got.size() >= MESSAGES);
            final List<String> first = got.stream().filter(b -> b.startsWith("commit-")).toList();
            Checks.equal("deliveries", MESSAGES, first.size());
            Checks.equal("messages", wanted, new TreeSet<>(first));
        });
        checks.check("transactions: the broker asks about what nobody decided", () -> {
            Checks.isTrue("asked about " + asked.keySet(),
                Checks.within(LIMIT_MS, () -> asked.size() == 2));
            final MessageExt message = asked.get("asked-commit-0");
            Checks.equal("topic", Main.TRANSACTION_TOPIC, message.getTopic());
            Checks.equal("key", "asked-commit-0", message.getKeys());
        });
        checks.check("transactions: the answer to the question decides", () -> {
            Checks.isTrue("it does not come",
                Checks.within(LIMIT_MS, () -> got.contains("asked-commit-0")));
            Checks.equal("deliveries", MESSAGES + 1, got.size());
        });
        consumer.shutdown();
        producer.shutdown();
    }

    private void send(String kind, int n, LocalTransactionState wanted) throws Exception {
        final String body = kind + "-" + n;
        final Message message = new Message(Main.TRANSACTION_TOPIC, kind, body,
            body.getBytes(StandardCharsets.UTF_8));
        final TransactionSendResult result = producer.sendMessageInTransaction(message, wanted);
        Checks.equal("status of " + body, SendStatus.SEND_OK, result.getSendStatus());
        Checks.equal("state of " + body, wanted, result.getLocalTransactionState());
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object wanted) {
        return (LocalTransactionState) wanted;
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
        final String body = new String(message.getBody(), StandardCharsets.UTF_8);
        asked.put(body, message);
        return body.startsWith("asked-commit") ? LocalTransactionState.COMMIT_MESSAGE
            : LocalTransactionState.ROLLBACK_MESSAGE;
    }

    private DefaultMQPushConsumer consumer() throws Exception {
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("interop-transacted");
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(Main.TRANSACTION_TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                got.add(new String(message.getBody(), StandardCharsets.UTF_8));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }
}
