package rival;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Runs a SQL file in a Flink mini cluster inside this JVM until killed.
 *
 * <p>Options, each --name=value: bootstrap, group, sql, state (a folder), form (flat|schemas), minibatch (a duration),
 * checkpoint (a duration).
 */
public final class SqlOrders {
    private SqlOrders() { }

    private static void mark(String name) {
        System.out.printf(Locale.ROOT, "MARK %s %.3f%n", name, System.currentTimeMillis() / 1000.0);
        System.out.flush();
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> o = new HashMap<>();
        for (String a : args) {
            String[] kv = a.replaceFirst("^--", "").split("=", 2);
            o.put(kv[0], kv[1]);
        }
        Configuration c = new Configuration();
        c.setString("parallelism.default", "2");
        c.setString("taskmanager.numberOfTaskSlots", "2");
        c.setString("table.local-time-zone", "UTC");
        c.setString("pipeline.object-reuse", "true");
        if (o.containsKey("minibatch")) {
            c.setString("table.exec.mini-batch.enabled", "true");
            c.setString("table.exec.mini-batch.allow-latency", o.get("minibatch"));
            c.setString("table.exec.mini-batch.size", "5000");
        }
        c.setString("state.backend.type", "hashmap");
        if (o.containsKey("checkpoint")) {
            c.setString("execution.checkpointing.interval", o.get("checkpoint"));
            c.setString("execution.checkpointing.dir", Path.of(o.get("state"), "checkpoints").toUri().toString());
            c.setString("execution.checkpointing.incremental", "true");
        }
        TableEnvironment env = TableEnvironment.create(
            EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(c).build());
        String sql = Files.readString(Path.of(o.get("sql"))).replaceAll("(?m)^\\s*--.*$", "")
            .replace("@BOOT@", o.get("bootstrap")).replace("@GROUP@", o.get("group"));
        if (o.get("form").equals("flat")) {
            sql = sql.replaceAll("payload ROW<(.*)>,", "$1,").replace("payload.", "");
        }
        TableResult last = null;
        for (String statement : sql.split(";\\s*(?:\\n|$)")) {
            if (statement.isBlank()) {
                continue;
            }
            boolean insert = statement.strip().toUpperCase().startsWith("INSERT");
            if (insert) {
                mark("start");
            }
            last = env.executeSql(statement);
        }
        last.await();
    }
}
