package rival;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** The source rows, the aggregate, and their JSON; records may be flat or carry their schema. */
final class Rows {
    private Rows() { }

    record Key(String orderId, String itemId) { }

    /** By name, or by its ordinal as in the ancestor's tables: Jackson reads both. */
    enum ItemStatus { REQUESTED, FULFILLED, SHIPPED }

    record Item(String orderId, String itemId, String itemName, ItemStatus itemStatus, double price, int quantity,
                boolean deleted) { }

    record Items(List<Item> list) { }

    record Shipping(String orderId, String customerName, String customerAddress, String zipCode,
                    double latitude, double longitude) { }

    record Payment(String orderId, String paymentType, String creditCardType, String creditCardNumber,
                   double amount) { }

    record Price(double price, String currency) { }

    record Amount(double amount, String currency) { }

    record Geo(double latitude, double longitude) { }

    record OutItem(String itemId, String itemName, String itemStatus, Price price, int quantity) { }

    record OutShipping(String customerName, String customerAddress, String zipCode, Geo geoLocation) { }

    record OutPayment(String paymentType, String creditCardType, String creditCardNumber, Amount amount) { }

    record CustomerOrder(String orderId, String orderStatus, String modifiedDate, List<OutItem> items,
                         OutShipping shippingLocation, OutPayment payment) { }

    private static final ObjectMapper SNAKE = JsonMapper.builder()
        .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
        .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
        .build();
    private static final ObjectMapper CAMEL = JsonMapper.builder()
        .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
        .build();

    /** Reads one key or value, with or without its {"schema", "payload"} wrapper; the schema is skipped. */
    static final class Source<T> {
        private final ObjectReader reader;

        Source(Class<T> type) {
            this.reader = SNAKE.readerFor(type);
        }

        T read(byte[] json) {
            if (json == null) {
                return null;
            }
            try {
                try (JsonParser p = SNAKE.createParser(json)) {
                    if (p.nextToken() != JsonToken.START_OBJECT) {
                        return null;
                    }
                    while (p.nextToken() == JsonToken.FIELD_NAME) {
                        String name = p.currentName();
                        JsonToken value = p.nextToken();
                        if (name.equals("payload")) {
                            return value == JsonToken.VALUE_NULL ? null : reader.readValue(p);
                        }
                        if (!name.equals("schema")) {
                            break;
                        }
                        p.skipChildren();
                    }
                }
                return reader.readValue(json);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    static <T> Serde<T> serde(Class<T> type) {
        ObjectReader reader = CAMEL.readerFor(type);
        ObjectWriter writer = CAMEL.writerFor(type);
        return Serdes.serdeFrom((topic, value) -> {
            try {
                return value == null ? null : writer.writeValueAsBytes(value);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }, (topic, bytes) -> {
            try {
                return bytes == null ? null : reader.readValue(bytes);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }
}
