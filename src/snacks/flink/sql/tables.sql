-- The topics as tables. The app runs this file, orders.sql and job.sql; `snacks flink sql` runs the first two.
-- $names are filled in by job.py.

-- ── the changes that Debezium writes (redpanda/connector.json): flattened rows, oldest first ────────
-- `record` is the offset: an order's rows of one table lie in one partition, in the order of the binlog.

CREATE TABLE item_detail (
    order_id STRING,
    item_id STRING,
    item_name STRING,
    item_status STRING,
    price DECIMAL(11, 2),
    currency STRING,
    quantity INT,
    __deleted STRING,
    __source_ts_ms BIGINT,
    __source_file STRING,
    __source_pos BIGINT,
    __source_row INT,
    record BIGINT METADATA FROM 'offset' VIRTUAL,
    captured TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
    'connector' = 'kafka',
    'topic' = 'order-command-server.order-command-db.item_detail',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id' = 'snacks-flink-item-detail',
    'properties.group.id' = '$group',
    'properties.isolation.level' = 'read_committed',
    'properties.partition.discovery.interval.ms' = '0',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = '$until',
    'value.format' = 'json',
    'value.json.ignore-parse-errors' = 'true'
);

CREATE TABLE shipping_location (
    order_id STRING,
    customer_name STRING,
    customer_address STRING,
    zip_code STRING,
    latitude DOUBLE,
    longitude DOUBLE,
    __deleted STRING,
    __source_ts_ms BIGINT,
    __source_file STRING,
    __source_pos BIGINT,
    __source_row INT,
    record BIGINT METADATA FROM 'offset' VIRTUAL,
    captured TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
    'connector' = 'kafka',
    'topic' = 'order-command-server.order-command-db.shipping_location',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id' = 'snacks-flink-shipping-location',
    'properties.group.id' = '$group',
    'properties.isolation.level' = 'read_committed',
    'properties.partition.discovery.interval.ms' = '0',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = '$until',
    'value.format' = 'json',
    'value.json.ignore-parse-errors' = 'true'
);

CREATE TABLE payment (
    order_id STRING,
    payment_type STRING,
    credit_card_type STRING,
    credit_card_number STRING,
    amount DECIMAL(11, 2),
    currency STRING,
    __deleted STRING,
    __source_ts_ms BIGINT,
    __source_file STRING,
    __source_pos BIGINT,
    __source_row INT,
    record BIGINT METADATA FROM 'offset' VIRTUAL,
    captured TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
    'connector' = 'kafka',
    'topic' = 'order-command-server.order-command-db.payment',
    'properties.bootstrap.servers' = '$kafka',
    'properties.client.id' = 'snacks-flink-payment',
    'properties.group.id' = '$group',
    'properties.isolation.level' = 'read_committed',
    'properties.partition.discovery.interval.ms' = '0',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = '$until',
    'value.format' = 'json',
    'value.json.ignore-parse-errors' = 'true'
);
