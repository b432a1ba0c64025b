// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.file.Path;

/**
 * Stock RocketMQ clients, configured with nothing but the nameserver's address, against a cluster.
 * Arguments: nameserver address, broker address, suite (admin, messages, filters, sharing,
 * compressed, transactions, pops, replies, cleanup, source, imported, peer-serve, peer-read,
 * peer-write, peer-transact or peer-read-copied), and for filters the table of expressions, for
 * source and imported the folder of the store they share, for peer-serve one for a store.
 */
public final class Main {
    static final String TOPIC = "InteropTopic";
    static final String ORDERED_TOPIC = "InteropOrdered";
    static final String FILTER_TOPIC = "InteropFilter";
    static final String TRANSACTION_TOPIC = "InteropTransactions";
    static final String POP_TOPIC = "InteropPops";
    static final String COMPRESSED_TOPIC = "InteropCompressed";
    static final String REPLY_TOPIC = "InteropReplies";
    static final int QUEUES = 8;
    static final String PUSH_GROUP = "interop-push";
    static final String PULL_GROUP = "interop-pull";

    private Main() {
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("rocketmq.client.logUseSlf4j", "true");
        final Checks checks = new Checks();
        final String nameserver = arguments[0];
        final String broker = arguments[1];
        switch (arguments[2]) {
            case "admin" -> new AdminSuite(nameserver, broker, checks).run();
            case "messages" -> new MessageSuite(nameserver, checks).run();
            case "filters" ->
                new FilterSuite(nameserver, Path.of(arguments[3]), checks).run();
            case "sharing" -> new SharingSuite(checks).run();
            case "compressed" -> new CompressedSuite(nameserver, checks).run();
            case "transactions" -> new TransactionSuite(nameserver, checks).run();
            case "pops" -> new PopSuite(nameserver, broker, checks).run();
            case "replies" -> new ReplySuite(nameserver, checks).run();
            case "cleanup" -> new CleanupSuite(nameserver, broker, checks).run();
            case "source" ->
                new SourceSuite(nameserver, broker, Path.of(arguments[3]), checks).run();
            case "imported" ->
                new ImportSuite(nameserver, broker, Path.of(arguments[3]), checks).run();
            case "peer-serve" -> PeerSuite.serve(nameserver, broker, Path.of(arguments[3]));
            case "peer-read" -> new PeerSuite(nameserver, checks).read();
            case "peer-write" -> new PeerSuite(nameserver, checks).write();
            case "peer-transact" -> new PeerSuite(nameserver, checks).transact();
            case "peer-read-copied" -> new PeerSuite(nameserver, checks).readCopied();
            default -> throw new IllegalArgumentException("unknown suite " + arguments[2]);
        }
        System.out.println("DONE");
        // Client threads are not all daemons.
        System.exit(checks.failed() == 0 ? 0 : 1);
    }
}
