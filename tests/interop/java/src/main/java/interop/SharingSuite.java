// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * How stock clients share queues out: what tests/client/group/sharing_test.cc expects of ours
 * has to be this, or a group of both kinds of clients reads a queue twice or not at all.
 */
final class SharingSuite {
    private static final List<String> MEMBERS = List.of("10.0.0.1@a", "10.0.0.2@b", "10.0.0.3@c");

    private final Checks checks;

    SharingSuite(Checks checks) {
        this.checks = checks;
    }

    void run() {
        expect("average", new AllocateMessageQueueAveragely(),
            Map.of("broker-a", "aaaaaabb", "broker-b", "bbbccccc"));
        expect("circle", new AllocateMessageQueueAveragelyByCircle(),
            Map.of("broker-a", "abcabcab", "broker-b", "cabcabca"));
        expect("consistent hash", new AllocateMessageQueueConsistentHash(),
            Map.of("broker-a", "cbaccccb", "broker-b", "cbcbccac"));
    }

    /** The last letters of the owners of the queues 0 to 7 of each broker. */
    private void expect(String name, AllocateMessageQueueStrategy strategy,
        Map<String, String> owners) {
        checks.check("sharing: " + name, () -> {
            final List<MessageQueue> queues = new ArrayList<>();
            for (final String broker : List.of("broker-a", "broker-b")) {
                for (int i = 0; i < 8; ++i) {
                    queues.add(new MessageQueue("TopicTest", broker, i));
                }
            }
            for (final String member : MEMBERS) {
                final List<MessageQueue> wanted = queues.stream()
                    .filter(q -> owners.get(q.getBrokerName()).charAt(q.getQueueId())
                        == member.charAt(member.length() - 1))
                    .toList();
                Checks.equal(member, wanted, strategy.allocate("G", member, queues, MEMBERS));
            }
        });
    }
}
