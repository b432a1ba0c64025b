// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Producers, push consumers and pull consumers as every user writes them. */
final class MessageSuite {
    private static final int MESSAGES = 10_000;
    private static final int ORDERED = 1_000;
    private static final int ORDER_KEYS = 10;
    private static final long LIMIT_MS = 60_000;

    private final String nameserver;
    private final Checks checks;
    private final DefaultMQProducer producer = new DefaultMQProducer("interop-producer");
    private final Publisher publisher = new Publisher(producer);

    MessageSuite(String nameserver, Checks checks) {
        this.nameserver = nameserver;
        this.checks = checks;
        producer.setNamesrvAddr(nameserver);
    }

    void run() throws Exception {
        producer.start();
        final Receiver early = new Receiver();
        final DefaultMQPushConsumer waiting = push(Main.PUSH_GROUP, "a", "*", listener(early));
        final DefaultMQPushConsumer second = push(Main.PUSH_GROUP, "b", "*", listener(early));

        checks.check("producer: 10000 messages sync, async and in batches are acknowledged",
            () -> publisher.send(MESSAGES));
        checks.check("push consumer: a group of two gets all 10000 messages unchanged", () -> {
            Checks.within(LIMIT_MS, () -> early.received.size() >= publisher.sent.size());
            early.mustEqual(publisher.sent);
            System.out.println("NOTE push consumer: " + early.duplicates() + " seen twice");
        });
        waiting.shutdown();
        second.shutdown();

        checks.check("push consumer: a new group starts at the first message", this::lateGroup);
        checks.check("push consumer: a tag expression selects exactly its messages", this::tags);
        checks.check("push consumer: a message given back comes again", this::retry);
        checks.check("producer: a selector keeps the order of each key", this::ordered);
        checks.check("pull consumer: poll gets each queue without a gap", this::pull);
        checks.check("pull consumer: assign, seek and commit", this::assign);
        checks.check("producer: one-way messages are stored", this::oneWay);
        checks.check("producer: an unknown topic is refused", () -> {
            try {
                producer.send(new Message("InteropMissing", new byte[1]));
                throw new AssertionError("it was accepted");
            } catch (MQClientException error) {
                Checks.isTrue(error.toString(), error.getMessage().contains("No route info"));
            }
        });
        producer.shutdown();
    }

    private void lateGroup() throws Exception {
        final Receiver receiver = new Receiver();
        final DefaultMQPushConsumer consumer = push("interop-late", "a", "*", listener(receiver));
        Checks.within(LIMIT_MS, () -> receiver.received.size() >= publisher.sent.size());
        consumer.shutdown();
        receiver.mustEqual(publisher.sent);
        Checks.equal("seen twice", 0, receiver.duplicates());
    }

    private void tags() throws Exception {
        final Map<String, Long> wanted = publisher.sent.entrySet().stream()
            .filter(e -> List.of(1, 3).contains(number(e.getKey()) % Publisher.TAGS))
            .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue));
        final Receiver receiver = new Receiver();
        final DefaultMQPushConsumer consumer =
            push("interop-tags", "a", "tag-1 || tag-3", listener(receiver));
        Checks.within(LIMIT_MS, () -> receiver.received.size() >= wanted.size());
        consumer.shutdown();
        receiver.mustEqual(wanted);
    }

    private void retry() throws Exception {
        final Map<String, Integer> times = new ConcurrentHashMap<>();
        final DefaultMQPushConsumer consumer =
            push("interop-retry", "a", "tag-2", (messages, context) -> {
                context.setDelayLevelWhenNextConsume(1);
                boolean again = false;
                for (MessageExt message : messages) {
                    times.merge(message.getKeys(), message.getReconsumeTimes(), Math::max);
                    again |= message.getKeys().equals("k-7") && message.getReconsumeTimes() == 0;
                }
                return again ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                    : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        final boolean came = Checks.within(LIMIT_MS, () -> times.getOrDefault("k-7", 0) == 1);
        consumer.shutdown();
        Checks.isTrue("not again within " + LIMIT_MS + " ms; first seen: "
            + times.containsKey("k-7"), came);
    }

    private void ordered() throws Exception {
        for (int n = 0; n < ORDERED; ++n) {
            final Message message = new Message(Main.ORDERED_TOPIC, "t", "o-" + n % ORDER_KEYS,
                Integer.toString(n).getBytes(StandardCharsets.UTF_8));
            producer.send(message,
                (queues, each, key) -> queues.get((Integer) key % queues.size()), n % ORDER_KEYS);
        }
        final List<MessageExt> got = poll("interop-ordered", Main.ORDERED_TOPIC, ORDERED);
        final Map<String, Integer> last = new HashMap<>();
        final Map<String, Integer> queue = new HashMap<>();
        for (MessageExt message : got) {
            final int n = Integer.parseInt(new String(message.getBody(), StandardCharsets.UTF_8));
            final Integer before = last.put(message.getKeys(), n);
            Checks.isTrue(message.getKeys() + ": " + n + " after " + before,
                before == null || before < n);
            final Integer other = queue.put(message.getKeys(), message.getQueueId());
            Checks.isTrue(message.getKeys() + " is in two queues",
                other == null || other == message.getQueueId());
        }
        Checks.equal("messages", ORDERED, got.size());
    }

    private void pull() throws Exception {
        final List<MessageExt> got = poll(Main.PULL_GROUP, Main.TOPIC, MESSAGES);
        final Receiver receiver = new Receiver();
        receiver.accept(got);
        receiver.mustEqual(publisher.sent);
        final Map<Integer, Long> next = new HashMap<>();
        for (MessageExt message : got) {
            final long wanted = next.getOrDefault(message.getQueueId(), 0L);
            Checks.equal("offset in queue " + message.getQueueId(), wanted,
                message.getQueueOffset());
            next.put(message.getQueueId(), wanted + 1);
        }
        Checks.equal("queues", Main.QUEUES, next.size());
    }

    private List<MessageExt> poll(String group, String topic, int count) throws Exception {
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        try {
            final List<MessageExt> got = new ArrayList<>();
            final long end = System.nanoTime() + LIMIT_MS * 1_000_000;
            while (got.size() < count && System.nanoTime() < end) {
                got.addAll(consumer.poll(500));
            }
            consumer.commitSync();
            return got;
        } finally {
            consumer.shutdown();
        }
    }

    private void assign() throws Exception {
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("interop-assign");
        consumer.setNamesrvAddr(nameserver);
        consumer.setAutoCommit(false);
        consumer.start();
        try {
            final MessageQueue queue = consumer.fetchMessageQueues(Main.TOPIC).iterator().next();
            consumer.assign(List.of(queue));
            // A pull of this client (5.3.3) that is under way in seek() may still put what it got
            // before what was sought: PullTaskImpl asks whether it was cancelled before it takes
            // the lock that seek() holds. So nothing is under way here.
            consumer.pause(List.of(queue));
            Checks.eventually(LIMIT_MS, () -> {
                Checks.isTrue("pulls go on in a paused queue", consumer.poll(2_000).isEmpty());
                return true;
            });
            consumer.seek(queue, 100);
            consumer.resume(List.of(queue));
            final List<MessageExt> first = Checks.eventually(LIMIT_MS, () -> {
                final List<MessageExt> polled = consumer.poll(1_000);
                Checks.isTrue("nothing polled", !polled.isEmpty());
                return polled;
            });
            Checks.equal("offset after seek", 100L, first.get(0).getQueueOffset());
            consumer.commitSync(Map.of(queue, 123L), true);
            Checks.equal("committed", 123L, consumer.committed(queue));
        } finally {
            consumer.shutdown();
        }
    }

    private void oneWay() throws Exception {
        final List<MessageQueue> queues = producer.fetchPublishMessageQueues(Main.ORDERED_TOPIC);
        final MessageQueue queue = queues.get(0);
        final long before = producer.maxOffset(queue);
        producer.sendOneway(new Message(Main.ORDERED_TOPIC, new byte[10]), queue);
        Checks.eventually(5_000, () -> {
            Checks.equal("end of the queue", before + 1, producer.maxOffset(queue));
            return true;
        });
        final SendResult next = producer.send(new Message(Main.ORDERED_TOPIC, new byte[1]), queue);
        Checks.equal("offset of the next message", before + 1, next.getQueueOffset());
    }

    private DefaultMQPushConsumer push(String group, String instance, String tags,
        MessageListenerConcurrently listener) throws Exception {
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        // Members of one group in one process need names of their own.
        consumer.setInstanceName(group + "-" + instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(Main.TOPIC, tags);
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    private static MessageListenerConcurrently listener(Receiver receiver) {
        return (messages, context) -> {
            receiver.accept(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    private static int number(String key) {
        return Integer.parseInt(key.substring(2));
    }
}
