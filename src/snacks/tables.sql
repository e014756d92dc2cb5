-- The command tables, as versions that are applied once each and in order, by `snacks.tables`.
-- A version is the statements below its `-- version n` line; add one, never change one that was
-- released. {collation} compares byte for byte, without padding: `kit-a`, `KIT-A` and `kit-a ` are
-- three orders. No foreign keys: InnoDB does not write what a cascade deletes to the binlog, so change
-- data capture would miss it, and an order has no row of its own that the others could refer to.

-- version 1
CREATE TABLE IF NOT EXISTS item_detail (
    order_id VARCHAR(64) NOT NULL,
    item_id VARCHAR(64) NOT NULL,
    item_name VARCHAR(255) NOT NULL,
    item_status ENUM('REQUESTED', 'FULFILLED', 'SHIPPED') NOT NULL DEFAULT 'REQUESTED',
    price DECIMAL(11, 2) NOT NULL,
    currency ENUM('USD') NOT NULL DEFAULT 'USD',
    quantity INT NOT NULL,
    PRIMARY KEY (order_id, item_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS shipping_location (
    order_id VARCHAR(64) NOT NULL,
    customer_name VARCHAR(255) NOT NULL,
    customer_address VARCHAR(255) NOT NULL,
    zip_code VARCHAR(32) NOT NULL,
    latitude DOUBLE NOT NULL,
    longitude DOUBLE NOT NULL,
    PRIMARY KEY (order_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};

CREATE TABLE IF NOT EXISTS payment (
    order_id VARCHAR(64) NOT NULL,
    payment_type VARCHAR(64) NOT NULL,
    credit_card_type VARCHAR(64) NOT NULL,
    credit_card_number VARCHAR(19) NOT NULL, -- its mask, ****-****-****-1111
    amount DECIMAL(11, 2) NOT NULL,
    currency ENUM('USD') NOT NULL DEFAULT 'USD',
    PRIMARY KEY (order_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation};
