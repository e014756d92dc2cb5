package rival;

import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import rival.Rows.CustomerOrder;
import rival.Rows.Item;
import rival.Rows.ItemStatus;
import rival.Rows.Items;
import rival.Rows.Key;
import rival.Rows.Payment;
import rival.Rows.Shipping;
import rival.Rows.Source;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The CustomerOrder aggregate with Kafka Streams: items re-keyed to the order id and gathered in a list,
 * inner join with the shipping location, left join with the payment.
 *
 * <p>Options, each --name=value: bootstrap, app, state, threads, cache, guarantee, commit (milliseconds).
 */
public final class CustomerOrders {
    private static final String SERVER = "order-command-server.order-command-db.";
    private static final String OUTPUT = "customer-order-aggregate";
    private static final DateTimeFormatter SECONDS = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss");
    private static final AtomicBoolean FIRST = new AtomicBoolean();

    private CustomerOrders() { }

    private static void mark(String name) {
        System.out.printf(Locale.ROOT, "MARK %s %.3f%n", name, System.currentTimeMillis() / 1000.0);
        System.out.flush();
    }

    static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<String> string = Serdes.String();
        Source<Key> keys = new Source<>(Key.class);
        Source<Item> itemRows = new Source<>(Item.class);

        KTable<String, Items> items = rows(builder, "item_detail")
            .map((k, v) -> {
                Key key = keys.read(k);
                Item item = itemRows.read(v);
                return KeyValue.pair(key.orderId(),
                    item != null ? item : new Item(key.orderId(), key.itemId(), null, ItemStatus.REQUESTED, 0, 0, true));
            })
            .groupByKey(Grouped.with("items", string, Rows.serde(Item.class)))
            .aggregate(() -> new Items(new ArrayList<>(4)), (id, item, all) -> merge(item, all),
                store("items-store", Rows.serde(Items.class)));

        KTable<String, Shipping> shipping = table(builder, "shipping_location", Shipping.class, keys);
        KTable<String, Payment> payment = table(builder, "payment", Payment.class, keys);

        items.join(shipping, CustomerOrders::order)
            .leftJoin(payment, CustomerOrders::paid)
            .toStream()
            .to(OUTPUT, Produced.with(string, Rows.serde(CustomerOrder.class)));
        return builder.build();
    }

    private static KStream<byte[], byte[]> rows(StreamsBuilder builder, String table) {
        return builder.stream(SERVER + table, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .peek((k, v) -> {
                if (!FIRST.get() && FIRST.compareAndSet(false, true)) {
                    mark("start");
                }
            });
    }

    private static <T> KTable<String, T> table(StreamsBuilder builder, String name, Class<T> type, Source<Key> keys) {
        Source<T> source = new Source<>(type);
        return rows(builder, name)
            .map((k, v) -> KeyValue.pair(keys.read(k).orderId(), source.read(v)))
            .toTable(store(name + "-store", Rows.serde(type)));
    }

    private static <T> Materialized<String, T, KeyValueStore<Bytes, byte[]>> store(String name, Serde<T> serde) {
        return Materialized.<String, T, KeyValueStore<Bytes, byte[]>>as(name)
            .withKeySerde(Serdes.String()).withValueSerde(serde);
    }

    /** One entry an item id, in item id order; an item never goes back to a lower status. */
    private static Items merge(Item item, Items all) {
        List<Item> list = all.list();
        int at = 0;
        while (at < list.size() && compareIds(list.get(at).itemId(), item.itemId()) < 0) {
            at++;
        }
        boolean same = at < list.size() && list.get(at).itemId().equals(item.itemId());
        if (item.deleted()) {
            if (same) {
                list.remove(at);
            }
        } else if (!same) {
            list.add(at, item);
        } else if (item.itemStatus().compareTo(list.get(at).itemStatus()) >= 0) {
            list.set(at, item);
        }
        return list.isEmpty() ? null : all;
    }

    private static int compareIds(String a, String b) {
        return a.length() == b.length() ? a.compareTo(b) : Integer.compare(a.length(), b.length());
    }

    private static CustomerOrder order(Items items, Shipping s) {
        List<Rows.OutItem> out = new ArrayList<>(items.list().size());
        ItemStatus lowest = ItemStatus.SHIPPED;
        for (Item i : items.list()) {
            lowest = i.itemStatus().compareTo(lowest) < 0 ? i.itemStatus() : lowest;
            out.add(new Rows.OutItem(i.itemId(), i.itemName(), i.itemStatus().name(),
                new Rows.Price(i.price(), "USD"), i.quantity()));
        }
        return new CustomerOrder(s.orderId(), lowest == ItemStatus.REQUESTED ? "PENDING" : lowest.name(),
            LocalDateTime.now(ZoneOffset.UTC).format(SECONDS), out,
            new Rows.OutShipping(s.customerName(), s.customerAddress(), s.zipCode(),
                new Rows.Geo(s.latitude(), s.longitude())), null);
    }

    private static CustomerOrder paid(CustomerOrder o, Payment p) {
        if (p == null) {
            return o;
        }
        return new CustomerOrder(o.orderId(), o.orderStatus().equals("PENDING") ? "PAID" : o.orderStatus(),
            o.modifiedDate(), o.items(), o.shippingLocation(),
            new Rows.OutPayment(p.paymentType(), p.creditCardType(), p.creditCardNumber(),
                new Rows.Amount(p.amount(), "USD")));
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> o = new HashMap<>();
        for (String a : args) {
            String[] kv = a.replaceFirst("^--", "").split("=", 2);
            o.put(kv[0], kv[1]);
        }
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, o.get("bootstrap"));
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, o.get("app"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, o.get("state"));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, o.getOrDefault("threads", "1"));
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, o.getOrDefault("cache", "0"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, o.getOrDefault("guarantee", "at_least_once"));
        p.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        if (o.containsKey("commit")) {
            p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, o.get("commit"));
        }
        KafkaStreams streams = new KafkaStreams(topology(), p);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler
                .StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }
}
