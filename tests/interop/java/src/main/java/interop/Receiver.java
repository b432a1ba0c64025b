// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.common.message.MessageExt;

/** What consumers of one group got: bodies by key, deliveries counted. */
final class Receiver {
    final Map<String, Long> received = new ConcurrentHashMap<>();
    final AtomicInteger deliveries = new AtomicInteger();
    private final Map<String, String> wrong = new ConcurrentHashMap<>();

    void accept(List<? extends MessageExt> messages) {
        for (MessageExt message : messages) {
            deliveries.incrementAndGet();
            received.put(message.getKeys(), Publisher.crc(message.getBody()));
            final int n = Integer.parseInt(message.getUserProperty("number"));
            if (!("tag-" + n % Publisher.TAGS).equals(message.getTags())
                || !message.getKeys().equals("k-" + n)
                || !Main.TOPIC.equals(message.getTopic())) {
                wrong.put(message.getKeys(), message.toString());
            }
        }
    }

    /** Everything of `sent` arrived with the same bytes, and nothing else did. */
    void mustEqual(Map<String, Long> sent) {
        final TreeSet<String> lost = new TreeSet<>(sent.keySet());
        lost.removeAll(received.keySet());
        Checks.isTrue("lost " + lost.size() + " messages: " + lost.stream().limit(5).toList(),
            lost.isEmpty());
        Checks.equal("received messages", sent, received);
        Checks.equal("messages with wrong properties", Map.of(), wrong);
    }

    int duplicates() {
        return deliveries.get() - received.size();
    }
}
