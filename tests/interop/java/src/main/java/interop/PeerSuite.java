// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A RocketMQ cluster that Gantry's client talks to, and stock clients at its other end. Message n
 * is the same wherever it is made: key k-n, tag tag-n%5, property number, a body of letters.
 */
final class PeerSuite {
    static final String FROM_GANTRY = "PeerFromGantry";
    static final String TO_GANTRY = "PeerToGantry";
    static final String COPIED = "again-PeerToGantry";
    static final String TRANSACTIONS = "PeerTransactions";
    static final int MESSAGES = 3_000;
    private static final int TRANSACTED = 20;
    private static final int BATCH = 20;
    private static final int TAGS = 5;
    private static final long LIMIT_MS = 60_000;

    private final String nameserver;
    private final Checks checks;

    PeerSuite(String nameserver, Checks checks) {
        this.nameserver = nameserver;
        this.checks = checks;
    }

    /** Serves until standard input ends. */
    static void serve(String nameserver, String broker, Path folder) throws Exception {
        final RocketBroker rocket = new RocketBroker(nameserver, broker, folder);
        System.out.println("READY");
        System.out.flush();
        while (System.in.read() >= 0) {
            continue;
        }
        rocket.stop();
    }

    static String body(int n) {
        final int size = n % 100 == 0 ? 9_000 : 1 + n * 37 % 2_000;
        final String unit = n + ":abcdefghij";
        return unit.repeat(size / unit.length() + 1).substring(0, size);
    }

    private static Message message(int n) {
        final Message message = new Message(TO_GANTRY, "tag-" + n % TAGS, "k-" + n,
            body(n).getBytes(StandardCharsets.US_ASCII));
        message.putUserProperty("number", Integer.toString(n));
        return message;
    }

    /** What Gantry's producer has sent is what a stock consumer gets. */
    void read() {
        checks.check("peer: a stock consumer reads what our producer sent", () -> {
            Checks.equal("deliveries", MESSAGES, readAll(FROM_GANTRY));
        });
    }

    /** The same of what went to a Gantry cluster and came back, of which some may come twice. */
    void readCopied() {
        checks.check("sync: a stock consumer reads what was copied there and back",
            () -> readAll(COPIED));
    }

    /** Reads messages 0 to MESSAGES - 1; how many deliveries it took. */
    private int readAll(String topic) throws Exception {
        final DefaultLitePullConsumer consumer =
            new DefaultLitePullConsumer("peer-stock-" + topic);
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        final Map<Integer, MessageExt> got = new TreeMap<>();
        int deliveries = 0;
        final long end = System.nanoTime() + LIMIT_MS * 1_000_000;
        while (got.size() < MESSAGES && System.nanoTime() < end) {
            for (final MessageExt message : consumer.poll(1_000)) {
                got.put(Integer.parseInt(message.getUserProperty("number")), message);
                ++deliveries;
            }
        }
        consumer.shutdown();
        Checks.equal("messages", MESSAGES, got.size());
        got.forEach((n, message) -> {
            Checks.equal("key", "k-" + n, message.getKeys());
            Checks.equal("tag", "tag-" + n % TAGS, message.getTags());
            Checks.equal("body", body(n),
                new String(message.getBody(), StandardCharsets.US_ASCII));
            Checks.isTrue("born " + message.getBornTimestamp(),
                Math.abs(System.currentTimeMillis() - message.getBornTimestamp()) < 3_600_000);
        });
        return deliveries;
    }

    /** Sends singly, without waiting, in batches, compressed where large, and some delayed. */
    void write() {
        checks.check("peer: a stock producer sends for our consumer", () -> {
            final DefaultMQProducer producer = new DefaultMQProducer("peer-producer");
            producer.setNamesrvAddr(nameserver);
            producer.start();
            final CountDownLatch answers = new CountDownLatch(MESSAGES / 3);
            final List<Message> batch = new ArrayList<>();
            for (int n = 0; n < MESSAGES; ++n) {
                final Message message = message(n);
                if (n % 3 == 0) {
                    if (n % 300 == 0) {
                        message.setDelayTimeLevel(1);
                    }
                    producer.send(message);
                } else if (n % 3 == 1) {
                    producer.send(message, counting(answers));
                } else {
                    batch.add(message);
                }
                if (batch.size() == BATCH) {
                    producer.send(batch);
                    batch.clear();
                }
            }
            Checks.isTrue("not every send was answered",
                answers.await(LIMIT_MS, TimeUnit.MILLISECONDS));
            Checks.isTrue("a batch is left", batch.isEmpty());
            producer.shutdown();
        });
    }

    /** Commits half of its transactions and rolls the others back. */
    void transact() {
        checks.check("peer: a stock producer's transactions end", () -> {
            final TransactionMQProducer producer = new TransactionMQProducer("peer-transactions");
            producer.setNamesrvAddr(nameserver);
            producer.setTransactionListener(new Decided());
            producer.start();
            for (int n = 0; n < 2 * TRANSACTED; ++n) {
                final Message message = new Message(TRANSACTIONS, "t", "k-" + n,
                    Integer.toString(n).getBytes(StandardCharsets.US_ASCII));
                final LocalTransactionState wanted = n % 2 == 0
                    ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
                producer.sendMessageInTransaction(message, wanted);
            }
            producer.shutdown();
        });
    }

    /** Does what the sender has said. */
    private static final class Decided implements TransactionListener {
        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object wanted) {
            return (LocalTransactionState) wanted;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            return LocalTransactionState.UNKNOW;
        }
    }

    private static SendCallback counting(CountDownLatch answers) {
        return new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answers.countDown();
            }

            @Override
            public void onException(Throwable error) {
                System.err.println(error);
            }
        };
    }
}
