// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.Map;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.body.HARuntimeInfo;
import org.apache.rocketmq.remoting.protocol.body.KVTable;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What mqadmin does to look at a cluster and to create topics, through its own library. */
final class AdminSuite {
    private final String broker;
    private final Checks checks;
    private final DefaultMQAdminExt admin = new DefaultMQAdminExt();

    AdminSuite(String nameserver, String broker, Checks checks) {
        this.broker = broker;
        this.checks = checks;
        admin.setNamesrvAddr(nameserver);
        admin.setInstanceName("interop-admin");
    }

    void run() throws Exception {
        admin.start();
        checks.check("admin: clusterList names the broker with its address", this::cluster);
        checks.check("admin: updateTopic creates a topic that is routed", () -> {
            create(Main.TOPIC, Main.QUEUES);
            create(Main.ORDERED_TOPIC, 4);
            create(Main.FILTER_TOPIC, 4);
            create(Main.TRANSACTION_TOPIC, 4);
            create(Main.COMPRESSED_TOPIC, 4);
            create(Main.POP_TOPIC, 4);
            create(Main.REPLY_TOPIC, 4);
        });
        checks.check("admin: updateTopic changes the number of queues", () -> {
            create("InteropGrown", 2);
            create("InteropGrown", 6);
        });
        checks.check("admin: topicList shows the topics", () -> {
            Checks.eventually(5_000, () -> {
                final var topics = admin.fetchAllTopicList().getTopicList();
                Checks.isTrue(topics + " lacks a topic",
                    topics.contains(Main.TOPIC) && topics.contains(Main.ORDERED_TOPIC));
                return topics;
            });
        });
        checks.check("admin: topicStatus counts nothing in a new topic", () ->
            Checks.equal("queues", Main.QUEUES,
                admin.examineTopicStats(Main.TOPIC).getOffsetTable().size()));
        checks.check("admin: the broker gives the topic's configuration back", () -> {
            final TopicConfig config = admin.examineTopicConfig(broker, Main.TOPIC);
            Checks.equal("read queues", Main.QUEUES, config.getReadQueueNums());
            Checks.equal("permission", 6, config.getPerm());
        });
        checks.check("admin: updateSubGroup creates a group", () -> {
            final SubscriptionGroupConfig group = new SubscriptionGroupConfig();
            group.setGroupName(Main.PUSH_GROUP);
            group.setRetryMaxTimes(5);
            admin.createAndUpdateSubscriptionGroupConfig(broker, group);
            final SubscriptionGroupConfig got =
                admin.examineSubscriptionGroupConfig(broker, Main.PUSH_GROUP);
            Checks.equal("retries", 5, got.getRetryMaxTimes());
        });
        checks.check("admin: brokerStatus has the keys the tools print", () -> {
            final KVTable table = admin.fetchBrokerRuntimeStats(broker);
            for (String key : new String[] {"brokerVersionDesc", "putTps", "getTotalTps",
                "bootTimestamp", "msgPutTotalTodayNow"}) {
                Checks.isTrue("no " + key, table.getTable().containsKey(key));
            }
        });
        checks.check("admin: haStatus shows a master without slaves", () -> {
            final HARuntimeInfo status = admin.getBrokerHAStatus(broker);
            Checks.isTrue("no master", status.isMaster());
            Checks.equal("slaves", 0, status.getHaConnectionInfo().size());
            Checks.equal("slaves in sync", 0, status.getInSyncSlaveNums());
            Checks.isTrue("log ends at " + status.getMasterCommitLogMaxOffset(),
                status.getMasterCommitLogMaxOffset() > 0);
        });
        checks.check("admin: a key of the nameserver's table is put, read and deleted", () -> {
            admin.createAndUpdateKvConfig("interop", "colour", "green");
            Checks.equal("value", "green", admin.getKVConfig("interop", "colour"));
            admin.deleteKvConfig("interop", "colour");
        });
        admin.shutdown();
    }

    private void cluster() throws Exception {
        final ClusterInfo info = Checks.eventually(10_000, () -> {
            final ClusterInfo seen = admin.examineBrokerClusterInfo();
            Checks.equal("brokers", 1, seen.getBrokerAddrTable().size());
            return seen;
        });
        final Map<Long, String> addresses =
            info.getBrokerAddrTable().values().iterator().next().getBrokerAddrs();
        Checks.equal("master", broker, addresses.get(0L));
        Checks.equal("clusters", 1, info.getClusterAddrTable().size());
    }

    private void create(String topic, int queues) throws Exception {
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, queues, queues, 6));
        Checks.eventually(5_000, () -> {
            final TopicRouteData route = admin.examineTopicRouteInfo(topic);
            final QueueData data = route.getQueueDatas().get(0);
            Checks.equal("write queues of " + topic, queues, data.getWriteQueueNums());
            Checks.equal("read queues of " + topic, queues, data.getReadQueueNums());
            return route;
        });
    }
}
