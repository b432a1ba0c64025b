// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Fills the store of a real RocketMQ broker with everything that an import has to carry over. */
final class SourceSuite {
    private static final int MESSAGES = 1_200;
    private static final int TRANSACTIONS = 12;
    private static final long LIMIT_MS = 30_000;
    private final String nameserver;
    private final String broker;
    private final Path folder;
    private final Checks checks;
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt();
    private DefaultMQProducer producer;
    private TransactionMQProducer transactions;
    private final Set<String> expected = new HashSet<>();

    SourceSuite(String nameserver, String broker, Path folder, Checks checks) {
        this.nameserver = nameserver;
        this.broker = broker;
        this.folder = folder;
        this.checks = checks;
    }

    void run() throws Exception {
        checks.check("source: a RocketMQ broker takes messages of every kind and stops", () -> {
            final RocketBroker rocket = new RocketBroker(nameserver, broker, folder);
            try {
                fill();
            } finally {
                rocket.stop();
            }
        });
    }

    private void fill() throws Exception {
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName("source-admin");
        admin.start();
        producer = new DefaultMQProducer("source-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        topic(Manifest.TOPIC, Manifest.QUEUES);
        topic(Manifest.RETRY_TOPIC, 1);
        sendPlain();
        sendTransactions();
        sendToDeletedTopics();
        sendBack();
        saveManifest();
        // Last, so that they are still to be delivered when the broker stops.
        final Message delayed = message(Manifest.TOPIC, "pending-1");
        delayed.setDelayTimeLevel(4);
        producer.send(delayed);
        final Message timer = message(Manifest.TOPIC, "timer-1");
        timer.setDelayTimeMs(3_600_000);
        producer.send(timer);
        transactions.shutdown();
        producer.shutdown();
        admin.shutdown();
    }

    private void topic(String name, int queues) throws Exception {
        Checks.eventually(LIMIT_MS, () -> {
            admin.createAndUpdateTopicConfig(broker, new TopicConfig(name, queues, queues, 6));
            Checks.equal("queues of " + name, queues, admin.examineTopicRouteInfo(name)
                .getQueueDatas().get(0).getWriteQueueNums());
            return true;
        });
    }

    private static Message message(String topic, String key) {
        // Some are large enough to be compressed by the client.
        final int n = Math.abs(key.hashCode());
        final StringBuilder body = new StringBuilder(key);
        while (body.length() < (n % 50 == 0 ? 9_000 : n % 1_500)) {
            body.append(' ').append(key);
        }
        return new Message(topic, "tag-" + n % 3, key,
            body.toString().getBytes(StandardCharsets.UTF_8));
    }

    private Message expect(String key) {
        expected.add(key);
        return message(Manifest.TOPIC, key);
    }

    private void sendPlain() throws Exception {
        for (int n = 0; n < MESSAGES / 2; ++n) {
            producer.send(expect("single-" + n));
        }
        for (int n = 0; n < MESSAGES / 2; n += 20) {
            final List<Message> batch = new ArrayList<>();
            for (int i = n; i < n + 20; ++i) {
                batch.add(expect("batch-" + i));
            }
            producer.send(batch);
        }
        for (int n = 0; n < 5; ++n) {
            final Message delayed = expect("delayed-" + n);
            delayed.setDelayTimeLevel(1);
            producer.send(delayed);
        }
    }

    private void sendTransactions() throws Exception {
        transactions = new TransactionMQProducer("source-transactions");
        transactions.setNamesrvAddr(nameserver);
        transactions.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object wanted) {
                return (LocalTransactionState) wanted;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.UNKNOW;
            }
        });
        transactions.start();
        for (int n = 0; n < TRANSACTIONS; ++n) {
            transactions.sendMessageInTransaction(expect("committed-" + n),
                LocalTransactionState.COMMIT_MESSAGE);
            transactions.sendMessageInTransaction(message(Manifest.TOPIC, "rolled-back-" + n),
                LocalTransactionState.ROLLBACK_MESSAGE);
        }
        transactions.sendMessageInTransaction(message(Manifest.TOPIC, "open-1"),
            LocalTransactionState.UNKNOW);
    }

    private void sendToDeletedTopics() throws Exception {
        topic(Manifest.AGAIN_TOPIC, 1);
        topic(Manifest.GONE_TOPIC, 2);
        for (int n = 0; n < 9; ++n) {
            producer.send(message(Manifest.AGAIN_TOPIC, "first-life-" + n));
            producer.send(message(Manifest.GONE_TOPIC, "gone-" + n));
        }
        admin.deleteTopicInBroker(Set.of(broker), Manifest.AGAIN_TOPIC);
        admin.deleteTopicInBroker(Set.of(broker), Manifest.GONE_TOPIC);
        topic(Manifest.AGAIN_TOPIC, 1);
        final MessageQueue queue = new MessageQueue(Manifest.AGAIN_TOPIC, "imported-a", 0);
        for (int n = 0; n < 4; ++n) {
            Checks.equal("offset in the new life of the topic", (long) n,
                producer.send(message(Manifest.AGAIN_TOPIC, "second-life-" + n), queue)
                    .getQueueOffset());
        }
    }

    /** One message waits in the retry topic, one for its delay, one is in the dead-letter topic. */
    private void sendBack() throws Exception {
        final SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName(Manifest.RETRY_GROUP);
        group.setRetryMaxTimes(Manifest.RETRIES_MAX);
        admin.createAndUpdateSubscriptionGroupConfig(broker, group);
        final Map<String, Integer> levels = Map.of("soon", 1, "later", 4, "dead", -1);
        final Set<String> seen = ConcurrentHashMap.newKeySet();
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(Manifest.RETRY_GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.subscribe(Manifest.RETRY_TOPIC, "*");
        consumer.registerMessageListener(
            (List<MessageExt> messages, ConsumeConcurrentlyContext context) -> {
                final Integer level = levels.get(messages.get(0).getKeys());
                if (level == null) {
                    return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
                }
                context.setDelayLevelWhenNextConsume(level);
                seen.add(messages.get(0).getKeys());
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
        consumer.start();
        for (String key : List.of("fine", "soon", "later", "dead")) {
            producer.send(message(Manifest.RETRY_TOPIC, key));
        }
        // A shutdown while a message is sent back would send it twice.
        final MessageQueue queue = new MessageQueue(Manifest.RETRY_TOPIC, "imported-a", 0);
        Checks.isTrue("not all were sent back: " + seen, Checks.within(LIMIT_MS, () ->
            seen.size() == levels.size() && consumer.getOffsetStore().readOffset(queue,
                ReadOffsetType.READ_FROM_MEMORY) == levels.size() + 1));
        consumer.shutdown();
    }

    /** Reads everything, and commits for the old group as if half of each queue were done. */
    private void saveManifest() throws Exception {
        final List<MessageExt> got = Manifest.poll(nameserver, "source-reader", Manifest.TOPIC,
            expected.size(), LIMIT_MS, true);
        final Map<String, Manifest.Entry> entries = new TreeMap<>();
        for (MessageExt message : got) {
            entries.put(message.getKeys(), Manifest.Entry.of(message));
        }
        Checks.equal("messages of the source", expected, entries.keySet());
        Checks.equal("deliveries", expected.size(), got.size());
        Manifest.save(folder, entries);
        final Map<Integer, Long> ends = new HashMap<>();
        entries.values().forEach(
            entry -> ends.merge(entry.queueId(), entry.queueOffset() + 1, Math::max));
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(Manifest.OLD_GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.setAutoCommit(false);
        consumer.start();
        final Map<MessageQueue, Long> halves = new HashMap<>();
        for (MessageQueue queue : consumer.fetchMessageQueues(Manifest.TOPIC)) {
            halves.put(queue, ends.getOrDefault(queue.getQueueId(), 0L) / 2);
        }
        consumer.assign(halves.keySet());
        // A commit is one-way and may be lost on its way: again until it is there.
        Checks.eventually(LIMIT_MS, () -> {
            consumer.commitSync(halves, true);
            for (MessageQueue queue : halves.keySet()) {
                Checks.equal("committed", halves.get(queue), consumer.committed(queue));
            }
            return true;
        });
        consumer.shutdown();
    }
}
