// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/** Sends the test's messages in every way a producer has, and remembers what was acknowledged. */
final class Publisher {
    static final int BATCH = 20;
    static final int TAGS = 5;

    /** Key of a message to the CRC32 of its body, for every message that was acknowledged. */
    final Map<String, Long> sent = new ConcurrentHashMap<>();
    private final Map<String, String> errors = new ConcurrentHashMap<>();
    private final DefaultMQProducer producer;

    Publisher(DefaultMQProducer producer) {
        this.producer = producer;
    }

    /** A third sync, a third async, a third in batches. The n-th message has key k-n. */
    void send(int count) throws Exception {
        final CountDownLatch answers = new CountDownLatch(count);
        final Semaphore inFlight = new Semaphore(200);
        final List<Message> batch = new ArrayList<>();
        for (int n = 0; n < count; ++n) {
            final Message message = message(n);
            if (n % 3 == 0) {
                accept(List.of(message), producer.send(message));
                answers.countDown();
            } else if (n % 3 == 1) {
                inFlight.acquire();
                sendAsync(message, () -> {
                    inFlight.release();
                    answers.countDown();
                });
            } else {
                batch.add(message);
            }
            if (batch.size() == BATCH || n == count - 1 && !batch.isEmpty()) {
                accept(batch, producer.send(batch));
                batch.forEach(each -> answers.countDown());
                batch.clear();
            }
        }
        Checks.isTrue("not every send was answered", answers.await(60, TimeUnit.SECONDS));
        Checks.equal("failed sends", Map.of(), errors);
        Checks.equal("acknowledged", count, sent.size());
    }

    /** Bodies of 1 to 2,000 bytes; single ones of 9,000, which the client compresses. */
    static Message message(int n) {
        final boolean compressed = n % 3 != 2 && n % 100 < 3;
        final byte[] body = new byte[compressed ? 9_000 : 1 + n * 37 % 2_000];
        for (int i = 0; i < body.length; ++i) {
            body[i] = (byte) (n + i / 7);
        }
        final Message message =
            new Message(Main.TOPIC, "tag-" + n % TAGS, "k-" + n, body);
        message.putUserProperty("number", Integer.toString(n));
        return message;
    }

    static long crc(byte[] body) {
        final CRC32 crc = new CRC32();
        crc.update(body);
        return crc.getValue();
    }

    private void sendAsync(Message message, Runnable answered) throws Exception {
        final long crc = crc(message.getBody());
        producer.send(message, new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                accept(message.getKeys(), crc, result);
                answered.run();
            }

            @Override
            public void onException(Throwable error) {
                errors.put(message.getKeys(), error.toString());
                answered.run();
            }
        });
    }

    private void accept(List<Message> messages, SendResult result) {
        // The client compresses in place and puts the body back only later.
        for (Message message : messages) {
            final int n = Integer.parseInt(message.getKeys().substring(2));
            accept(message.getKeys(), crc(message(n).getBody()), result);
        }
    }

    private void accept(String key, long crc, SendResult result) {
        if (result.getSendStatus() == SendStatus.SEND_OK) {
            sent.put(key, crc);
        } else {
            errors.put(key, result.toString());
        }
    }
}
