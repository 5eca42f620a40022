#!/bin/bash
# The sample shop on MySQL, and the account Mayfly administers the server with: it may create accounts, end
# sessions and hand on two groups; it is not root. The image runs this once, on an empty data directory.
set -eu

# As a string literal: backslashes and quotes are escaped.
password=$(sed "s/[\\\\']/\\\\&/g" /run/secrets/mysql-mayfly)

MYSQL_PWD=$(cat /run/secrets/mysql-root) mysql --user=root <<SQL
CREATE DATABASE shop;
CREATE TABLE shop.customers (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(200) NOT NULL);
CREATE TABLE shop.orders (
    id bigint AUTO_INCREMENT PRIMARY KEY,
    customer_id bigint NOT NULL,
    item varchar(200) NOT NULL,
    cents integer NOT NULL CHECK (cents >= 0),
    FOREIGN KEY (customer_id) REFERENCES shop.customers (id)
);
INSERT INTO shop.customers (name) VALUES ('Ada'), ('Grace'), ('Edsger');
INSERT INTO shop.orders (customer_id, item, cents)
VALUES (1, 'engine', 120000), (1, 'cards', 900), (2, 'moth', 100), (3, 'semaphore', 4200);
CREATE ROLE shop_read, shop_write;
GRANT SELECT ON shop.* TO shop_read;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ROUTINE ON shop.* TO shop_write;
CREATE USER mayfly@'%' IDENTIFIED BY '$password';
GRANT CREATE USER, PROCESS, CONNECTION_ADMIN, ROLE_ADMIN ON *.* TO mayfly@'%';
GRANT shop_read, shop_write TO mayfly@'%' WITH ADMIN OPTION;
GRANT SELECT ON mysql.* TO mayfly@'%';
-- Accounts of shop_write can define routines, which are dropped with them.
GRANT SHOW_ROUTINE ON *.* TO mayfly@'%';
GRANT ALTER ROUTINE ON shop.* TO mayfly@'%';
SQL
