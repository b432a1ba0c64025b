// SPDX-License-Identifier: Apache-2.0
package interop;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;
import org.apache.rocketmq.filter.parser.SelectorParser;

/** The table of expressions that Gantry is tested by, asked of RocketMQ's own compiler. */
final class SqlTable {
    private record Row(String rocketMq, Map<String, String> properties, String expression) {
        static Row of(String line) {
            final String[] fields = line.split("\t", -1);
            final Map<String, String> properties = new HashMap<>();
            for (String property : fields[2].equals("-") ? new String[0] : fields[2].split("\\|")) {
                final int middle = property.indexOf('=');
                properties.put(property.substring(0, middle), property.substring(middle + 1));
            }
            return new Row(fields[1].equals("=") ? fields[0] : fields[1], properties, fields[3]);
        }
    }

    private final List<Row> rows = new ArrayList<>();

    SqlTable(Path file) throws Exception {
        for (String line : Files.readAllLines(file)) {
            if (!line.startsWith("#")) {
                rows.add(Row.of(line));
            }
        }
    }

    int size() {
        return rows.size();
    }

    /** Rows of which RocketMQ says something else than the table says it does. */
    List<String> differences() {
        final List<String> different = new ArrayList<>();
        for (Row row : rows) {
            final String said = verdict(row);
            if (!said.equals(row.rocketMq)) {
                different.add(row.expression + " of " + row.properties + ": " + said + ", not "
                    + row.rocketMq);
            }
        }
        return different;
    }

    private static String verdict(Row row) {
        final Expression compiled;
        try {
            compiled = SelectorParser.parse(row.expression);
        } catch (MQFilterException | RuntimeException refused) {
            return "refused";
        }
        try {
            return String.valueOf(compiled.evaluate(new MessageEvaluationContext(row.properties)))
                .replace("null", "unknown");
        } catch (Exception failed) {
            return "failed";
        }
    }
}
