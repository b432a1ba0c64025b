// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.admin.TopicOffset;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Stock clients read from Gantry what SourceSuite left in a RocketMQ store that was imported. */
final class ImportSuite {
    private static final long LIMIT_MS = 60_000;
    private static final String PENDING = "pending-1";
    private final String nameserver;
    private final String broker;
    private final Checks checks;
    private final Map<String, Manifest.Entry> source;
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt();

    ImportSuite(String nameserver, String broker, Path folder, Checks checks) throws Exception {
        this.nameserver = nameserver;
        this.broker = broker;
        this.checks = checks;
        source = Manifest.load(folder);
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName("imported-admin");
    }

    void run() throws Exception {
        admin.start();
        checks.check("import: topics and groups are defined as in the source", this::definitions);
        checks.check("import: a group's committed offsets are those of the source", this::offsets);
        checks.check("import: messages are found by key and by the id the source gave them",
            this::find);
        checks.check("import: a new group gets every message with its bytes and offsets, and the"
            + " delayed one when it is due", this::everything);
        checks.check("import: the old group goes on exactly where it stood", this::remainder);
        checks.check("import: a topic that was deleted and made again has only its second life",
            this::secondLife);
        checks.check("import: messages sent back come again, the dead one is kept", this::sentBack);
        admin.shutdown();
    }

    private void definitions() throws Exception {
        final TopicConfig config = admin.examineTopicConfig(broker, Manifest.TOPIC);
        Checks.equal("read queues", Manifest.QUEUES, config.getReadQueueNums());
        Checks.equal("write queues", Manifest.QUEUES, config.getWriteQueueNums());
        Checks.equal("permission", 6, config.getPerm());
        Checks.equal("retries", Manifest.RETRIES_MAX, admin.examineSubscriptionGroupConfig(broker,
            Manifest.RETRY_GROUP).getRetryMaxTimes());
        Checks.eventually(LIMIT_MS, () -> {
            final Set<String> topics = admin.fetchAllTopicList().getTopicList();
            Checks.isTrue(topics + " lacks a topic", topics.containsAll(List.of(Manifest.TOPIC,
                Manifest.AGAIN_TOPIC, Manifest.RETRY_TOPIC)));
            Checks.isTrue("a deleted topic is back", !topics.contains(Manifest.GONE_TOPIC));
            return true;
        });
    }

    private Map<Integer, Long> halves() {
        final Map<Integer, Long> halves = new TreeMap<>();
        source.values().forEach(
            entry -> halves.merge(entry.queueId(), entry.queueOffset() + 1, Math::max));
        halves.replaceAll((queue, end) -> end / 2);
        return halves;
    }

    private void offsets() throws Exception {
        final Map<Integer, Long> got = new TreeMap<>();
        admin.examineConsumeStats(Manifest.OLD_GROUP, Manifest.TOPIC).getOffsetTable().forEach(
            (queue, offsets) -> got.put(queue.getQueueId(), offsets.getConsumerOffset()));
        Checks.equal("committed", halves(), got);
    }

    private void find() throws Exception {
        for (String key : List.of("single-17", "batch-31", "delayed-2", "committed-3")) {
            final Manifest.Entry entry = source.get(key);
            final QueryResult found =
                admin.queryMessage(Manifest.TOPIC, key, 32, 0, Long.MAX_VALUE);
            Checks.equal("messages of " + key, 1, found.getMessageList().size());
            Checks.equal("found by key", entry.crc(),
                Publisher.crc(found.getMessageList().get(0).getBody()));
            final MessageExt viewed = admin.viewMessage(Manifest.TOPIC, entry.offsetId());
            Checks.equal("found by id", key, viewed.getKeys());
        }
    }

    private void everything() throws Exception {
        final List<MessageExt> got = Manifest.poll(nameserver, "imported-new", Manifest.TOPIC,
            source.size() + 1, LIMIT_MS, false);
        final Map<String, Manifest.Entry> entries = new TreeMap<>();
        for (MessageExt message : got) {
            entries.put(message.getKeys(), Manifest.Entry.of(message));
        }
        System.out.println("NOTE import: " + got.size() + " deliveries of " + entries.size()
            + " messages to a new group");
        Checks.equal("deliveries", source.size() + 1, got.size());
        Checks.isTrue("the delayed message did not come", entries.remove(PENDING) != null);
        Checks.equal("messages", source.keySet(), entries.keySet());
        Checks.equal("bytes, offsets and ids", source, entries);
    }

    private void remainder() throws Exception {
        final Map<Integer, Long> halves = halves();
        final TreeSet<String> wanted = new TreeSet<>();
        source.values().forEach(entry -> {
            if (entry.queueOffset() >= halves.get(entry.queueId())) {
                wanted.add(entry.key());
            }
        });
        wanted.add(PENDING);
        final List<MessageExt> got = Manifest.poll(nameserver, Manifest.OLD_GROUP, Manifest.TOPIC,
            wanted.size(), LIMIT_MS, false);
        final TreeSet<String> keys = new TreeSet<>();
        got.forEach(message -> keys.add(message.getKeys()));
        Checks.equal("messages", wanted, keys);
        Checks.equal("deliveries", wanted.size(), got.size());
    }

    private void secondLife() throws Exception {
        final List<MessageExt> got =
            Manifest.poll(nameserver, "imported-new", Manifest.AGAIN_TOPIC, 4, LIMIT_MS, false);
        final TreeSet<String> keys = new TreeSet<>();
        got.forEach(message -> keys.add(message.getKeys()));
        Checks.equal("messages", new TreeSet<>(Set.of("second-life-0", "second-life-1",
            "second-life-2", "second-life-3")), keys);
        Checks.equal("deliveries", 4, got.size());
    }

    private void sentBack() throws Exception {
        final Map<String, Integer> came = new ConcurrentHashMap<>();
        final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(Manifest.RETRY_GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.subscribe(Manifest.RETRY_TOPIC, "*");
        consumer.registerMessageListener(
            (List<MessageExt> messages, ConsumeConcurrentlyContext context) -> {
                messages.forEach(each -> came.merge(each.getKeys(), each.getReconsumeTimes(),
                    Math::max));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        consumer.start();
        try {
            Checks.isTrue("came again: " + came, Checks.within(LIMIT_MS,
                () -> came.getOrDefault("soon", 0) > 0 && came.getOrDefault("later", 0) > 0));
        } finally {
            consumer.shutdown();
        }
        final Map<MessageQueue, TopicOffset> dead = new HashMap<>(
            admin.examineTopicStats("%DLQ%" + Manifest.RETRY_GROUP).getOffsetTable());
        Checks.equal("dead messages", 1L, dead.values().stream()
            .mapToLong(queue -> queue.getMaxOffset() - queue.getMinOffset()).sum());
    }
}
