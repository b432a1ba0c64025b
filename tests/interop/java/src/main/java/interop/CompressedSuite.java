// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** Bodies that Gantry's producer has compressed, one by each method: the key says which. */
final class CompressedSuite {
    private static final long LIMIT_MS = 60_000;

    private final String nameserver;
    private final Checks checks;

    CompressedSuite(String nameserver, Checks checks) {
        this.nameserver = nameserver;
        this.checks = checks;
    }

    void run() {
        checks.check("compressed: a stock consumer reads what our producer compressed", () -> {
            final String body = "0123456789".repeat(10_000);
            final Map<String, String> wanted = new TreeMap<>();
            for (final String method : new String[] {"none", "zlib", "lz4", "zstd"}) {
                wanted.put(method, body);
            }
            final Map<String, String> got = new TreeMap<>();
            final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("interop-zip");
            consumer.setNamesrvAddr(nameserver);
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(Main.COMPRESSED_TOPIC, "*");
            consumer.start();
            final long end = System.nanoTime() + LIMIT_MS * 1_000_000;
            while (got.size() < wanted.size() && System.nanoTime() < end) {
                for (final MessageExt message : consumer.poll(1_000)) {
                    got.put(message.getKeys(),
                        new String(message.getBody(), StandardCharsets.US_ASCII));
                }
            }
            consumer.shutdown();
            Checks.equal("methods", wanted.keySet(), got.keySet());
            Checks.isTrue("bodies are the same", wanted.equals(got));
        });
    }
}
