// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Consumers that filter by SQL92, and what RocketMQ says of the table of expressions. */
final class FilterSuite {
    private static final int MESSAGES = 2_000;
    private static final long LIMIT_MS = 60_000;
    private static final String WANTED =
        "(price BETWEEN 500 AND 599 OR TAGS IN ('rare')) AND country <> 'US' AND sold IS NULL";

    private final String nameserver;
    private final SqlTable table;
    private final Checks checks;
    private final DefaultMQProducer producer = new DefaultMQProducer("interop-filter-producer");

    FilterSuite(String nameserver, Path table, Checks checks) throws Exception {
        this.nameserver = nameserver;
        this.table = new SqlTable(table);
        this.checks = checks;
        producer.setNamesrvAddr(nameserver);
    }

    void run() throws Exception {
        checks.check("filter: the table of expressions is right about RocketMQ's compiler", () -> {
            Checks.isTrue("rows " + table.size(), table.size() >= 150);
            Checks.equal("differences", "[]", table.differences().toString());
        });
        producer.start();
        checks.check("filter: a push consumer by SQL gets its messages, also those that come later",
            this::push);
        checks.check("filter: a pull consumer by SQL gets exactly its messages", this::pull);
        checks.check("filter: a message given back comes again, past the filter", this::retry);
        checks.check("filter: an expression that does not parse stops the consumer's start",
            this::refused);
        producer.shutdown();
    }

    private static boolean isWanted(int n) {
        final boolean isRare = n % 400 == 1;
        return (n >= 500 && n <= 599 || isRare) && n % 3 != 0 && n % 7 != 0;
    }

    private static Set<Integer> wanted(int from, int to) {
        return IntStream.range(from, to).filter(FilterSuite::isWanted).boxed()
            .collect(Collectors.toCollection(TreeSet::new));
    }

    private void send(int from, int to) throws Exception {
        for (int n = from; n < to; ++n) {
            final Message message = new Message(Main.FILTER_TOPIC, n % 400 == 1 ? "rare" : "usual",
                Integer.toString(n).getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("price", Integer.toString(n));
            message.putUserProperty("country", n % 3 == 0 ? "US" : "FR");
            if (n % 7 == 0) {
                message.putUserProperty("sold", "yes");
            }
            producer.send(message);
        }
    }

    private static int number(MessageExt message) {
        return Integer.parseInt(new String(message.getBody(), StandardCharsets.UTF_8));
    }

    private DefaultMQPushConsumer consumer(String group, String expression,
        MessageListenerConcurrently listener) throws Exception {
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(Main.FILTER_TOPIC, MessageSelector.bySql(expression));
        consumer.registerMessageListener(listener);
        return consumer;
    }

    private void push() throws Exception {
        send(0, MESSAGES / 2);
        final Map<Integer, Integer> got = new ConcurrentHashMap<>();
        final DefaultMQPushConsumer consumer =
            consumer("interop-sql-push", WANTED, (messages, context) -> {
                messages.forEach(message -> got.merge(number(message), 1, Integer::sum));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        consumer.start();
        try {
            final Set<Integer> first = wanted(0, MESSAGES / 2);
            Checks.within(LIMIT_MS, () -> got.size() >= first.size());
            Checks.equal("messages", first, new TreeSet<>(got.keySet()));
            send(MESSAGES / 2, MESSAGES);
            final Set<Integer> all = wanted(0, MESSAGES);
            Checks.within(LIMIT_MS, () -> got.size() >= all.size());
            Checks.equal("messages", all, new TreeSet<>(got.keySet()));
            Checks.isTrue("seen twice: " + new TreeMap<>(got),
                got.values().stream().allMatch(times -> times == 1));
        } finally {
            consumer.shutdown();
        }
    }

    private void pull() throws Exception {
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("interop-sql-pull");
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(Main.FILTER_TOPIC, MessageSelector.bySql(WANTED));
        consumer.start();
        try {
            final Set<Integer> all = wanted(0, MESSAGES);
            final Set<Integer> got = new TreeSet<>();
            final long end = System.nanoTime() + LIMIT_MS * 1_000_000;
            while (got.size() < all.size() && System.nanoTime() < end) {
                consumer.poll(500).forEach(message -> got.add(number(message)));
            }
            Checks.equal("messages", all, got);
        } finally {
            consumer.shutdown();
        }
    }

    private void retry() throws Exception {
        final Map<Integer, Integer> times = new ConcurrentHashMap<>();
        final DefaultMQPushConsumer consumer =
            consumer("interop-sql-retry", "price = 501", (messages, context) -> {
                context.setDelayLevelWhenNextConsume(1);
                messages.forEach(m -> times.merge(number(m), m.getReconsumeTimes(), Math::max));
                return times.containsValue(1) ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS
                    : ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
        consumer.start();
        try {
            Checks.within(LIMIT_MS, () -> times.containsValue(1));
            Checks.equal("times given back", Map.of(501, 1), times);
        } finally {
            consumer.shutdown();
        }
    }

    private void refused() throws Exception {
        final DefaultMQPushConsumer consumer = consumer("interop-sql-bad", "price LIKE '5%'",
            (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        try {
            consumer.start();
            throw new AssertionError("it started");
        } catch (MQClientException error) {
            Checks.isTrue(error.toString(), error.toString().contains("position 7, at \"LIKE\""));
        } finally {
            consumer.shutdown();
        }
    }
}
