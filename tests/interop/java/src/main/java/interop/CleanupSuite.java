// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.Set;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.admin.ConsumeStats;
import org.apache.rocketmq.remoting.protocol.admin.TopicStatsTable;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What mqadmin shows after messages have passed, and the deletion of topics. */
final class CleanupSuite {
    private final String nameserver;
    private final String broker;
    private final Checks checks;
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt();

    CleanupSuite(String nameserver, String broker, Checks checks) {
        this.nameserver = nameserver;
        this.broker = broker;
        this.checks = checks;
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName("interop-cleanup");
    }

    void run() throws Exception {
        admin.start();
        checks.check("admin: topicStatus counts what was stored", () -> {
            final TopicStatsTable stats = admin.examineTopicStats(Main.TOPIC);
            Checks.equal("messages", 10_000L, stats.getOffsetTable().values().stream()
                .mapToLong(q -> q.getMaxOffset() - q.getMinOffset()).sum());
        });
        checks.check("admin: consumerProgress shows a group that has read everything", () -> {
            final ConsumeStats stats = admin.examineConsumeStats(Main.PUSH_GROUP, Main.TOPIC);
            Checks.equal("queues", Main.QUEUES, stats.getOffsetTable().size());
            Checks.equal("not yet consumed", 0L, stats.computeTotalDiff());
            Checks.equal("consumed", 10_000L, stats.getOffsetTable().values().stream()
                .mapToLong(q -> q.getConsumerOffset()).sum());
        });
        checks.check("admin: offsets of a queue by end, start and time", () -> {
            final TopicStatsTable stats = admin.examineTopicStats(Main.ORDERED_TOPIC);
            final MessageQueue queue = stats.getOffsetTable().keySet().iterator().next();
            Checks.equal("start", 0L, admin.minOffset(queue));
            Checks.isTrue("end is 0", admin.maxOffset(queue) > 0);
            Checks.equal("at the beginning of time", 0L, admin.searchOffset(queue, 1_000L));
        });
        checks.check("admin: a message is found by its id and by its key", this::find);
        checks.check("admin: deleteTopic takes the route away", this::delete);
        admin.shutdown();
    }

    private void find() throws Exception {
        final DefaultMQProducer producer = new DefaultMQProducer("interop-find");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        final byte[] body = "looked for".getBytes();
        final SendResult result =
            producer.send(new Message(Main.ORDERED_TOPIC, "t", "needle", body));
        producer.shutdown();
        final MessageExt byId = admin.viewMessage(Main.ORDERED_TOPIC, result.getOffsetMsgId());
        Checks.equal("body by id", "looked for", new String(byId.getBody()));
        final var byKey = Checks.eventually(5_000, () -> admin.queryMessage(Main.ORDERED_TOPIC,
            "needle", 32, 0, System.currentTimeMillis() + 60_000)).getMessageList();
        Checks.equal("messages by key", 1, byKey.size());
        Checks.equal("offset by key", result.getQueueOffset(), byKey.get(0).getQueueOffset());
    }

    private void delete() throws Exception {
        admin.deleteTopicInBroker(Set.of(broker), "InteropGrown");
        admin.deleteTopicInNameServer(Set.of(nameserver), "InteropGrown");
        Checks.eventually(5_000, () -> {
            try {
                admin.examineTopicRouteInfo("InteropGrown");
                throw new AssertionError("it is still routed");
            } catch (MQClientException error) {
                Checks.equal("code", ResponseCode.TOPIC_NOT_EXIST, error.getResponseCode());
                return true;
            }
        });
    }
}
