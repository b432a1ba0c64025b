// SPDX-License-Identifier: Apache-2.0
package interop;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/** What the source of an import held, by message key; written before it stopped. */
final class Manifest {
    static final String TOPIC = "ImportedTopic";
    static final String AGAIN_TOPIC = "ImportedAgain";
    static final String GONE_TOPIC = "ImportedGone";
    static final String RETRY_TOPIC = "ImportedRetry";
    static final String OLD_GROUP = "imported-old";
    static final String RETRY_GROUP = "imported-retry";
    static final int QUEUES = 4;
    static final int RETRIES_MAX = 7;

    /** A message as its consumer saw it. */
    record Entry(String key, long crc, int queueId, long queueOffset, String offsetId) {
        static Entry of(MessageExt message) {
            return new Entry(message.getKeys(), Publisher.crc(message.getBody()),
                message.getQueueId(), message.getQueueOffset(),
                ((MessageClientExt) message).getOffsetMsgId());
        }

        private String line() {
            return String.join("\t", key, Long.toString(crc), Integer.toString(queueId),
                Long.toString(queueOffset), offsetId);
        }

        private static Entry parse(String line) {
            final List<String> fields = Arrays.asList(line.split("\t"));
            return new Entry(fields.get(0), Long.parseLong(fields.get(1)),
                Integer.parseInt(fields.get(2)), Long.parseLong(fields.get(3)), fields.get(4));
        }
    }

    private Manifest() {
    }

    static void save(Path folder, Map<String, Entry> entries) throws IOException {
        final List<String> lines = new ArrayList<>();
        entries.values().forEach(entry -> lines.add(entry.line()));
        Files.write(folder.resolve("manifest"), lines, StandardCharsets.UTF_8);
    }

    static Map<String, Entry> load(Path folder) throws IOException {
        final Map<String, Entry> entries = new TreeMap<>();
        for (String line : Files.readAllLines(folder.resolve("manifest"))) {
            final Entry entry = Entry.parse(line);
            entries.put(entry.key(), entry);
        }
        return entries;
    }

    /** A group's first message up to the n-th it gets, committed if asked for. */
    static List<MessageExt> poll(String nameserver, String group, String topic, int count,
        long limitMs, boolean commit) throws Exception {
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(group + "-" + topic + "-" + System.nanoTime());
        consumer.setAutoCommit(false);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        try {
            final List<MessageExt> got = new ArrayList<>();
            final long end = System.nanoTime() + limitMs * 1_000_000;
            while (got.size() < count && System.nanoTime() < end) {
                got.addAll(consumer.poll(200));
            }
            // Whatever comes beyond the count is too much, and must be seen.
            got.addAll(consumer.poll(500));
            if (commit) {
                consumer.commitSync();
            }
            return got;
        } finally {
            consumer.shutdown();
        }
    }
}
