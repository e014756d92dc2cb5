-- The job: every change of a customer order goes to its topic; an order that is gone leaves a tombstone.

CREATE TABLE customer_order_aggregate (
    order_id STRING,
    document STRING,
    headers MAP<STRING, BYTES> METADATA,
    PRIMARY KEY (order_id) NOT ENFORCED
) WITH (
    'connector' = 'upsert-kafka',
    'topic' = 'customer-order-aggregate',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id' = 'snacks-flink-aggregate',
    'properties.max.request.size' = '8388608',
    -- A change comes here as the old order's end and the new one, at once: only the last of an order is sent.
    'sink.buffer-flush.max-rows' = '100000',
    'sink.buffer-flush.interval' = '50 ms',
    'key.format' = 'raw',
    'value.format' = 'raw',
    'value.fields-include' = 'EXCEPT_KEY'
);

INSERT INTO customer_order_aggregate
SELECT
    order_id,
    CONCAT(
        '{"orderId":', JSON_STRING(order_id),
        ',"orderStatus":"', order_status,
        '","modifiedDate":"', modified_date,
        '","items":', items,
        ',"shippingLocation":', shipping_location,
        ',"payment":', COALESCE(payment, 'null'),
        '}'
    ),
    MAP[
        'changed', ENCODE(CAST(changed AS STRING), 'UTF-8'),
        'captured', ENCODE(CAST(
            UNIX_TIMESTAMP(DATE_FORMAT(captured, 'yyyy-MM-dd HH:mm:ss')) * 1000 + EXTRACT(MILLISECOND FROM captured) AS STRING
        ), 'UTF-8')
    ]
FROM customer_order;
