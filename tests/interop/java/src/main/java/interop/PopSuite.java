// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** The pop commands as RocketMQ's own client sends them and reads their answers. */
final class PopSuite {
    private static final int MESSAGES = 100;
    private static final long LIMIT_MS = 20_000;
    private static final long INVISIBLE_MS = 60_000;
    private static final String GROUP = "interop-pop";
    private static final String BROKER = "broker-a";

    private final String nameserver;
    private final String address;
    private final Checks checks;
    private MQClientAPIImpl api;
    private final Set<String> sent = new TreeSet<>();
    private final List<MessageExt> held = new ArrayList<>();

    PopSuite(String nameserver, String address, Checks checks) {
        this.nameserver = nameserver;
        this.address = address;
        this.checks = checks;
    }

    void run() throws Exception {
        final DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.start();
        api = consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory()
            .getMQClientAPIImpl();
        send();
        checks.check("pop: every message comes once, with a receipt", () -> {
            final List<String> got = new ArrayList<>();
            while (got.size() < MESSAGES) {
                final PopResult result = pop(INVISIBLE_MS, 1_000);
                Checks.equal("status", PopStatus.FOUND, result.getPopStatus());
                for (MessageExt message : result.getMsgFoundList()) {
                    got.add(body(message));
                    held.add(message);
                    final String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
                    Checks.equal("offset of " + receipt, message.getQueueOffset(),
                        ExtraInfoUtil.getQueueOffset(ExtraInfoUtil.split(receipt)));
                }
            }
            Checks.equal("messages", sent, new TreeSet<>(got));
            Checks.equal("deliveries", MESSAGES, got.size());
        });
        checks.check("pop: what is in flight is not given to others", () ->
            Checks.equal("status", PopStatus.POLLING_NOT_FOUND, pop(INVISIBLE_MS, 200)
                .getPopStatus()));
        checks.check("pop: an acknowledgement is taken", () -> {
            for (MessageExt message : held.subList(0, 40)) {
                Checks.equal("status", AckStatus.OK, acknowledge(message).getStatus());
            }
        });
        checks.check("pop: a batch of acknowledgements is taken", () -> {
            final List<String> receipts = held.subList(40, MESSAGES - 2).stream()
                .map(m -> m.getProperty(MessageConst.PROPERTY_POP_CK)).toList();
            final CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.batchAckMessageAsync(address, LIMIT_MS, callback(done), Main.POP_TOPIC, GROUP,
                receipts);
            Checks.equal("status", AckStatus.OK, wait(done).getStatus());
        });
        checks.check("pop: the invisible time changes, and with it the receipt", () -> {
            final MessageExt kept = held.get(MESSAGES - 2);
            final AckResult longer = changeTime(kept, 50_000);
            Checks.equal("status", AckStatus.OK, longer.getStatus());
            kept.getProperties().put(MessageConst.PROPERTY_POP_CK, longer.getExtraInfo());
            Checks.equal("status", AckStatus.OK, acknowledge(kept).getStatus());
            final MessageExt given = held.get(MESSAGES - 1);
            Checks.equal("status", AckStatus.OK, changeTime(given, 200).getStatus());
            final PopResult again = pop(INVISIBLE_MS, 10_000);
            Checks.equal("status", PopStatus.FOUND, again.getPopStatus());
            Checks.equal("messages", 1, again.getMsgFoundList().size());
            final MessageExt message = again.getMsgFoundList().get(0);
            Checks.equal("body", body(given), body(message));
            Checks.equal("reconsume times", 1, message.getReconsumeTimes());
            Checks.equal("status", AckStatus.OK, acknowledge(message).getStatus());
        });
        checks.check("pop: everything is done", () ->
            Checks.equal("status", PopStatus.POLLING_NOT_FOUND, pop(INVISIBLE_MS, 500)
                .getPopStatus()));
        consumer.shutdown();
    }

    private void send() throws Exception {
        final DefaultMQProducer producer = new DefaultMQProducer("interop-pop-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        for (int n = 0; n < MESSAGES; ++n) {
            sent.add("pop-" + n);
            producer.send(new Message(Main.POP_TOPIC, "tag",
                ("pop-" + n).getBytes(StandardCharsets.UTF_8)));
        }
        producer.shutdown();
    }

    private static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    private static <T> T wait(CompletableFuture<T> future) throws Exception {
        return future.get(LIMIT_MS, TimeUnit.MILLISECONDS);
    }

    private static AckCallback callback(CompletableFuture<AckResult> done) {
        return new AckCallback() {
            @Override
            public void onSuccess(AckResult result) {
                done.complete(result);
            }

            @Override
            public void onException(Throwable error) {
                done.completeExceptionally(error);
            }
        };
    }

    private PopResult pop(long invisibleMs, long pollMs) throws Exception {
        final PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setConsumerGroup(GROUP);
        header.setTopic(Main.POP_TOPIC);
        header.setQueueId(-1);
        header.setMaxMsgNums(32);
        header.setInvisibleTime(invisibleMs);
        header.setPollTime(pollMs);
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(0);
        header.setExpType("TAG");
        header.setExp("*");
        final CompletableFuture<PopResult> done = new CompletableFuture<>();
        api.popMessageAsync(BROKER, address, header, LIMIT_MS, new PopCallback() {
            @Override
            public void onSuccess(PopResult result) {
                done.complete(result);
            }

            @Override
            public void onException(Throwable error) {
                done.completeExceptionally(error);
            }
        });
        return wait(done);
    }

    private AckResult acknowledge(MessageExt message) throws Exception {
        final String receipt = message.getProperty(MessageConst.PROPERTY_POP_CK);
        final AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setConsumerGroup(GROUP);
        header.setTopic(Main.POP_TOPIC);
        header.setQueueId(message.getQueueId());
        header.setOffset(message.getQueueOffset());
        header.setExtraInfo(receipt);
        final CompletableFuture<AckResult> done = new CompletableFuture<>();
        api.ackMessageAsync(address, LIMIT_MS, callback(done), header);
        return wait(done);
    }

    private AckResult changeTime(MessageExt message, long invisibleMs) throws Exception {
        final ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
        header.setConsumerGroup(GROUP);
        header.setTopic(Main.POP_TOPIC);
        header.setQueueId(message.getQueueId());
        header.setOffset(message.getQueueOffset());
        header.setExtraInfo(message.getProperty(MessageConst.PROPERTY_POP_CK));
        header.setInvisibleTime(invisibleMs);
        final CompletableFuture<AckResult> done = new CompletableFuture<>();
        api.changeInvisibleTimeAsync(BROKER, address, header, LIMIT_MS, callback(done));
        return wait(done);
    }
}
