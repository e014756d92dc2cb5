-- The customer orders in Flink SQL: of each table the newest row of a primary key counts.
-- The runner puts the broker and a group in, and for flat records takes `payload` away.

CREATE TABLE item_detail (
  payload ROW<order_id STRING, item_id STRING, item_name STRING, item_status STRING, price DECIMAL(10, 2), quantity INT>,
  pt AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = 'order-command-server.order-command-db.item_detail',
  'properties.bootstrap.servers' = '@BOOT@', 'properties.group.id' = '@GROUP@',
  'scan.startup.mode' = 'earliest-offset', 'value.format' = 'json'
);

CREATE TABLE shipping_location (
  payload ROW<order_id STRING, customer_name STRING, customer_address STRING, zip_code STRING, latitude DOUBLE, longitude DOUBLE>,
  pt AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = 'order-command-server.order-command-db.shipping_location',
  'properties.bootstrap.servers' = '@BOOT@', 'properties.group.id' = '@GROUP@',
  'scan.startup.mode' = 'earliest-offset', 'value.format' = 'json'
);

CREATE TABLE payment (
  payload ROW<order_id STRING, payment_type STRING, credit_card_type STRING, credit_card_number STRING, amount DECIMAL(10, 2)>,
  pt AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = 'order-command-server.order-command-db.payment',
  'properties.bootstrap.servers' = '@BOOT@', 'properties.group.id' = '@GROUP@',
  'scan.startup.mode' = 'earliest-offset', 'value.format' = 'json'
);

CREATE TABLE customer_order_aggregate (
  orderId STRING PRIMARY KEY NOT ENFORCED,
  orderStatus STRING,
  modifiedDate STRING,
  items ARRAY<ROW<itemId STRING, itemName STRING, itemStatus STRING,
                  price ROW<price DECIMAL(10, 2), currency STRING>, quantity INT>>,
  shippingLocation ROW<customerName STRING, customerAddress STRING, zipCode STRING,
                       geoLocation ROW<latitude DOUBLE, longitude DOUBLE>>,
  payment ROW<paymentType STRING, creditCardType STRING, creditCardNumber STRING,
              amount ROW<amount DECIMAL(10, 2), currency STRING>>
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'customer-order-aggregate',
  'properties.bootstrap.servers' = '@BOOT@', 'key.format' = 'raw', 'value.format' = 'json'
);

-- Latest row per key: Flink's deduplication (keep the last row in processing time).
CREATE VIEW item_now AS
SELECT order_id, item_id, item_name, item_status, price, quantity
FROM (
  SELECT payload.order_id, payload.item_id, payload.item_name,
         CASE WHEN payload.item_status IN ('2', 'SHIPPED') THEN 2
              WHEN payload.item_status IN ('1', 'FULFILLED') THEN 1 ELSE 0 END AS item_status, payload.price,
         payload.quantity,
         ROW_NUMBER() OVER (PARTITION BY payload.order_id, payload.item_id ORDER BY pt DESC) AS n
  FROM item_detail
)
WHERE n = 1;

CREATE VIEW shipping_now AS
SELECT order_id, customer_name, customer_address, zip_code, latitude, longitude
FROM (
  SELECT payload.order_id, payload.customer_name, payload.customer_address, payload.zip_code,
         payload.latitude, payload.longitude,
         ROW_NUMBER() OVER (PARTITION BY payload.order_id ORDER BY pt DESC) AS n
  FROM shipping_location
)
WHERE n = 1;

CREATE VIEW payment_now AS
SELECT order_id, payment_type, credit_card_type, credit_card_number, amount
FROM (
  SELECT payload.order_id, payload.payment_type, payload.credit_card_type, payload.credit_card_number,
         payload.amount,
         ROW_NUMBER() OVER (PARTITION BY payload.order_id ORDER BY pt DESC) AS n
  FROM payment
)
WHERE n = 1;

CREATE VIEW items_now AS
SELECT order_id,
       MIN(item_status) AS lowest,
       ARRAY_AGG(ROW(item_id, item_name,
                     CASE item_status WHEN 2 THEN 'SHIPPED' WHEN 1 THEN 'FULFILLED' ELSE 'REQUESTED' END,
                     ROW(price, 'USD'), quantity)) AS items
FROM item_now
GROUP BY order_id;

INSERT INTO customer_order_aggregate
SELECT i.order_id,
       CASE WHEN i.lowest = 2 THEN 'SHIPPED'
            WHEN i.lowest = 1 THEN 'FULFILLED'
            WHEN p.order_id IS NOT NULL THEN 'PAID'
            ELSE 'PENDING' END,
       DATE_FORMAT(CURRENT_TIMESTAMP, 'yyyy-MM-dd''T''HH:mm:ss'),
       i.items,
       ROW(s.customer_name, s.customer_address, s.zip_code, ROW(s.latitude, s.longitude)),
       CASE WHEN p.order_id IS NULL THEN NULL
            ELSE ROW(p.payment_type, p.credit_card_type, p.credit_card_number, ROW(p.amount, 'USD')) END
FROM items_now AS i
JOIN shipping_now AS s ON s.order_id = i.order_id
LEFT JOIN payment_now AS p ON p.order_id = i.order_id;
