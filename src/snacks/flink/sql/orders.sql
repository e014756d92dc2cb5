-- The customer orders (docs/domain.md), without a join: a join of rows that change tells each change as a
-- deletion and an insertion, and readers would see orders go and come back.

-- ── every change of a part of an order: of an item, of its place, of its payment ────────────────────
-- `body` is the part's JSON, null once it is deleted. A row without a key, or with a value that is not one of
-- ours, is left out: the last good one stays.

CREATE VIEW order_change AS
SELECT
    order_id,
    'item' AS part,
    item_id AS id,
    CASE WHEN __deleted = 'true' THEN CAST(NULL AS STRING) ELSE CONCAT(
        '{"itemId":', JSON_STRING(item_id),
        ',"itemName":', JSON_STRING(item_name),
        ',"itemStatus":"', CASE
            WHEN item_status IN ('SHIPPED', '2') THEN 'SHIPPED'
            WHEN item_status IN ('FULFILLED', '1') THEN 'FULFILLED'
            ELSE 'REQUESTED' END,
        '","price":{"price":', CAST(price AS STRING), ',"currency":"USD"},"quantity":', CAST(quantity AS STRING),
        '}'
    ) END AS body,
    CASE
        WHEN item_status IN ('SHIPPED', '2') THEN 2
        WHEN item_status IN ('FULFILLED', '1') THEN 1
        ELSE 0 END AS status,
    __source_ts_ms, __source_file, __source_pos, __source_row, record, captured
FROM item_detail
WHERE order_id IS NOT NULL AND item_id IS NOT NULL AND (__deleted = 'true' OR (
    item_name IS NOT NULL AND price IS NOT NULL AND quantity IS NOT NULL
    AND item_status IN ('REQUESTED', 'FULFILLED', 'SHIPPED', '0', '1', '2')
))
UNION ALL
SELECT
    order_id,
    'place',
    '',
    CASE WHEN __deleted = 'true' THEN CAST(NULL AS STRING) ELSE CONCAT(
        '{"customerName":', JSON_STRING(customer_name),
        ',"customerAddress":', JSON_STRING(customer_address),
        ',"zipCode":', JSON_STRING(zip_code),
        ',"geoLocation":{"latitude":', JSON_STRING(latitude), ',"longitude":', JSON_STRING(longitude), '}}'
    ) END,
    CAST(NULL AS INT),
    __source_ts_ms, __source_file, __source_pos, __source_row, record, captured
FROM shipping_location
WHERE order_id IS NOT NULL AND (__deleted = 'true' OR (
    customer_name IS NOT NULL AND customer_address IS NOT NULL AND zip_code IS NOT NULL
    AND latitude IS NOT NULL AND longitude IS NOT NULL
))
UNION ALL
SELECT
    order_id,
    'payment',
    '',
    CASE WHEN __deleted = 'true' THEN CAST(NULL AS STRING) ELSE CONCAT(
        '{"paymentType":', JSON_STRING(payment_type),
        ',"creditCardType":', JSON_STRING(credit_card_type),
        ',"creditCardNumber":', JSON_STRING(CASE
            WHEN REGEXP(credit_card_number, '^[*]{4}-[*]{4}-[*]{4}-([0-9]{4}|[*]{4})$$') THEN credit_card_number
            WHEN CHAR_LENGTH(REGEXP_REPLACE(credit_card_number, '[^0-9]', '')) >= 13
                THEN CONCAT('****-****-****-', RIGHT(REGEXP_REPLACE(credit_card_number, '[^0-9]', ''), 4))
            ELSE '****-****-****-****' END),
        ',"amount":{"amount":', CAST(amount AS STRING), ',"currency":"USD"}}'
    ) END,
    CAST(NULL AS INT),
    __source_ts_ms, __source_file, __source_pos, __source_row, record, captured
FROM payment
WHERE order_id IS NOT NULL AND (__deleted = 'true' OR (
    payment_type IS NOT NULL AND credit_card_type IS NOT NULL AND credit_card_number IS NOT NULL
    AND amount IS NOT NULL
));

-- ── the newest change of each part, also of a deleted one: it tells when that went ──────────────────
-- The time of the source decides to the second (MariaDB tells no more), then the place in the binlog, then
-- the offset: an order's rows of one table lie in one partition.

CREATE VIEW order_part AS
SELECT order_id, part, id, body, status, __source_ts_ms, captured
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY order_id, part, id
        ORDER BY COALESCE(__source_ts_ms, 0) / 1000 DESC, COALESCE(__source_file, '') DESC,
            COALESCE(__source_pos, 0) DESC, COALESCE(__source_row, 0) DESC, record DESC
    ) AS newest
    FROM order_change
)
WHERE newest = 1;

-- ── an order exists once it has an item and a place ─────────────────────────────────────────────────
-- Each item is a line: its id in hexadecimal, which sorts as the id's code points do, a blank, and its JSON.
-- The lines are sorted, joined, and lose what they were sorted by.

CREATE VIEW customer_order AS
SELECT
    order_id,
    CASE
        WHEN MIN(item_status) = 2 THEN 'SHIPPED'
        WHEN MIN(item_status) = 1 THEN 'FULFILLED'
        WHEN COUNT(payment) > 0 THEN 'PAID'
        ELSE 'PENDING' END AS order_status,
    DATE_FORMAT(TO_TIMESTAMP_LTZ(MAX(changed), 3), 'yyyy-MM-dd''T''HH:mm:ss') AS modified_date,
    CONCAT('[', SUBSTRING(REGEXP_REPLACE(
        CONCAT(CHR(10), ARRAY_JOIN(ARRAY_SORT(ARRAY_AGG(item)), CHR(10))), '\n[0-9A-F]* ', ','
    ), 2), ']') AS items,
    MAX(place) AS shipping_location,
    MAX(payment) AS payment,
    MAX(changed) AS changed,
    MAX(captured) AS captured
FROM (
    SELECT
        order_id,
        CASE WHEN part = 'item' AND body IS NOT NULL THEN CONCAT(HEX(id), ' ', body) END AS item,
        CASE WHEN part = 'item' AND body IS NOT NULL THEN status END AS item_status,
        CASE WHEN part = 'place' THEN body END AS place,
        CASE WHEN part = 'payment' THEN body END AS payment,
        __source_ts_ms AS changed,
        captured
    FROM order_part
)
GROUP BY order_id
HAVING COUNT(item) > 0 AND COUNT(place) > 0;
