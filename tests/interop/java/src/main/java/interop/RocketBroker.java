// SPDX-License-Identifier: Apache-2.0
package interop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.namesrv.NamesrvStartup;

/** RocketMQ's own nameserver and broker in this process, with a small store in a folder. */
final class RocketBroker {
    private final NamesrvController nameserver;
    private final BrokerController broker;

    /** Ports as "host:port"; the broker also takes the ports 1 above and 2 below its own. */
    RocketBroker(String nameserverAddress, String brokerAddress, Path folder) throws Exception {
        System.setProperty("rocketmq.home.dir", folder.toString());
        Files.createDirectories(folder.resolve("conf"));
        NamesrvStartup.parseCommandlineAndConfigFile(new String[] {"-c",
            write(folder.resolve("nameserver.conf"), Map.of("listenPort", port(nameserverAddress),
                "kvConfigPath", folder.resolve("kvConfig.json").toString()))});
        nameserver = NamesrvStartup.createAndStartNamesrvController();
        final Map<String, String> settings = new TreeMap<>();
        settings.put("brokerClusterName", "ImportedCluster");
        settings.put("brokerName", "imported-a");
        settings.put("brokerId", "0");
        settings.put("brokerIP1", "127.0.0.1");
        settings.put("listenPort", port(brokerAddress));
        settings.put("namesrvAddr", nameserverAddress);
        settings.put("storePathRootDir", folder.resolve("store").toString());
        settings.put("storePathCommitLog", folder.resolve("store/commitlog").toString());
        settings.put("mappedFileSizeCommitLog", "524288");
        settings.put("mappedFileSizeConsumeQueue", "60000");
        settings.put("maxMessageSize", "262144");
        settings.put("maxIndexNum", "10000");
        settings.put("maxHashSlotNum", "2500");
        settings.put("mappedFileSizeTimerLog", "1048576");
        settings.put("timerWheelEnable", "true");
        settings.put("diskMaxUsedSpaceRatio", "99");
        settings.put("brokerFastFailureEnable", "false");
        settings.put("enablePropertyFilter", "true");
        broker = BrokerStartup.createBrokerController(
            new String[] {"-c", write(folder.resolve("broker.conf"), settings)});
        if (BrokerStartup.start(broker) == null) {
            throw new IllegalStateException("the RocketMQ broker did not start");
        }
    }

    void stop() {
        broker.shutdown();
        nameserver.shutdown();
    }

    private static String port(String address) {
        return address.substring(address.indexOf(':') + 1);
    }

    private static String write(Path file, Map<String, String> settings) throws IOException {
        final StringBuilder text = new StringBuilder();
        settings.forEach((key, value) -> text.append(key).append('=').append(value).append('\n'));
        Files.writeString(file, text);
        return file.toString();
    }
}
