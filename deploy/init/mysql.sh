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
GRANT CREATE USER, PROCESS, CONNECTION_ADMIN ON *.* TO mayfly@'%';
GRANT shop_read, shop_write TO mayfly@'%' WITH ADMIN OPTION;
-- How accounts stand, and what they were given; no verifier is in it.
GRANT SELECT (User, Host, account_locked, Select_priv, Insert_priv, Update_priv, Delete_priv, Create_priv, Drop_priv,
    References_priv, Index_priv, Alter_priv, Create_tmp_table_priv, Lock_tables_priv, Create_view_priv,
    Show_view_priv, Create_routine_priv, Alter_routine_priv, Execute_priv, Event_priv, Trigger_priv, Grant_priv,
    Reload_priv, Shutdown_priv, Process_priv, File_priv, Show_db_priv, Super_priv, Repl_slave_priv,
    Repl_client_priv, Create_user_priv, Create_tablespace_priv, Create_role_priv, Drop_role_priv) ON mysql.user TO mayfly@'%';
GRANT SELECT ON mysql.role_edges TO mayfly@'%';
GRANT SELECT ON mysql.global_grants TO mayfly@'%';
GRANT SELECT ON mysql.db TO mayfly@'%';
-- Accounts of shop_write can define routines, which are dropped with them.
GRANT SHOW_ROUTINE ON *.* TO mayfly@'%';
GRANT ALTER ROUTINE ON shop.* TO mayfly@'%';

-- The dead-man's switch (docs/dead-mans-switch.md): the server itself locks accounts at their expiry.
SET sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';
GRANT CREATE, ALTER, EVENT, SELECT, INSERT, UPDATE, DELETE ON mayfly.* TO mayfly@'%';
CREATE DATABASE IF NOT EXISTS mayfly CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS mayfly.accounts (
  user varchar(128) NOT NULL,
  host varchar(255) NOT NULL,
  lease varchar(64) NOT NULL,
  expires_at datetime(6) NOT NULL,
  locked_at datetime(6) NULL,
  trouble varchar(255) NULL,
  mark varchar(512) NULL,
  own_statements boolean NULL,
  kind varchar(16) NULL,
  PRIMARY KEY (user, host),
  KEY due (expires_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'Accounts of Mayfly and when they expire, in UTC';
CREATE TABLE IF NOT EXISTS mayfly.elevations (
  user varchar(128) NOT NULL,
  host varchar(255) NOT NULL,
  role varchar(128) NOT NULL,
  lease varchar(64) NOT NULL,
  expires_at datetime(6) NOT NULL,
  ends_sessions boolean NOT NULL,
  revoked_at datetime(6) NULL,
  sessions_to bigint unsigned NULL,
  trouble varchar(255) NULL,
  PRIMARY KEY (user, host, role, lease),
  KEY due (revoked_at, expires_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'Roles given for a while and until when, in UTC';
CREATE TABLE IF NOT EXISTS mayfly.server (
  id tinyint NOT NULL PRIMARY KEY,
  identity varchar(64) NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'What this server and its replicas are known by';
SET @mayfly = COALESCE(/*!80000 @@server_uuid, */ UUID());
INSERT IGNORE INTO mayfly.server (id, identity) VALUES (1, @mayfly);
DELIMITER //
CREATE DEFINER = mayfly@'%' EVENT mayfly.expire
ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE ENABLE
COMMENT 'mayfly switch, version 3' DO
BEGIN
  DECLARE began datetime(6) DEFAULT SYSDATE(6);
  DECLARE finished boolean DEFAULT FALSE;
  DECLARE own varchar(512) DEFAULT CURRENT_USER();
  DECLARE due_user varchar(128);
  DECLARE due_host varchar(255);
  DECLARE session bigint unsigned;
  DECLARE due CURSOR FOR
    SELECT user, host FROM mayfly.accounts
    WHERE expires_at <= UTC_TIMESTAMP(6) AND locked_at IS NULL
    AND (LEFT(user, 3) = 'mf_' OR kind = 'checkout' AND LEFT(own, CHAR_LENGTH(user) + 1) <> CONCAT(user, '@'))
    ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED;
  DECLARE live CURSOR FOR
    SELECT DISTINCT p.ID FROM information_schema.PROCESSLIST p
    JOIN mayfly.accounts a ON a.user = CONVERT(p.USER USING utf8mb4) COLLATE utf8mb4_bin
    WHERE a.expires_at <= UTC_TIMESTAMP(6)
    AND (LEFT(a.user, 3) = 'mf_' OR a.kind = 'checkout' AND LEFT(own, CHAR_LENGTH(a.user) + 1) <> CONCAT(a.user, '@'));
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET finished = TRUE;
  DECLARE CONTINUE HANDLER FOR SQLWARNING BEGIN END;
  OPEN due;
  locking: LOOP
    FETCH due INTO due_user, due_host;
    IF finished OR SYSDATE(6) > began + INTERVAL 800000 MICROSECOND THEN
      LEAVE locking;
    END IF;
    BEGIN
      DECLARE words text;
      DECLARE EXIT HANDLER FOR SQLEXCEPTION
      BEGIN
        GET DIAGNOSTICS CONDITION 1 words = MESSAGE_TEXT;
        UPDATE mayfly.accounts SET trouble = LEFT(words, 255) WHERE user = due_user AND host = due_host;
      END;
      IF EXISTS (SELECT 1 FROM mayfly.accounts WHERE user = due_user AND host = due_host
                 AND expires_at <= UTC_TIMESTAMP(6) AND locked_at IS NULL) THEN
        SET @mayfly = CONCAT('ALTER USER IF EXISTS ', QUOTE(due_user), '@', QUOTE(due_host), ' ACCOUNT LOCK');
        PREPARE lock_account FROM @mayfly;
        EXECUTE lock_account;
        DEALLOCATE PREPARE lock_account;
        UPDATE mayfly.accounts SET locked_at = UTC_TIMESTAMP(6), trouble = NULL
        WHERE user = due_user AND host = due_host AND expires_at <= UTC_TIMESTAMP(6);
        IF EXISTS (SELECT 1 FROM mayfly.accounts WHERE user = due_user AND host = due_host
                   AND expires_at > UTC_TIMESTAMP(6) AND locked_at IS NULL AND kind = 'checkout') THEN
          SET @mayfly = CONCAT('ALTER USER IF EXISTS ', QUOTE(due_user), '@', QUOTE(due_host), ' ACCOUNT UNLOCK');
          PREPARE unlock_account FROM @mayfly;
          EXECUTE unlock_account;
          DEALLOCATE PREPARE unlock_account;
        END IF;
      END IF;
    END;
  END LOOP;
  CLOSE due;
  IF EXISTS (SELECT 1 FROM mayfly.accounts WHERE expires_at <= UTC_TIMESTAMP(6)
             AND (LEFT(user, 3) = 'mf_' OR kind = 'checkout' AND LEFT(own, CHAR_LENGTH(user) + 1) <> CONCAT(user, '@'))) THEN
    SET finished = FALSE;
    OPEN live;
    ending: LOOP
      FETCH live INTO session;
      IF finished THEN
        LEAVE ending;
      END IF;
      BEGIN
        DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
        KILL CONNECTION session;
      END;
    END LOOP;
    CLOSE live;
    DELETE FROM mayfly.accounts
    WHERE expires_at < UTC_TIMESTAMP(6) - INTERVAL 30 DAY AND locked_at IS NOT NULL;
  END IF;
  BEGIN
    DECLARE given varchar(128);
    DECLARE code int;
    DECLARE words text;
    DECLARE lapsed CURSOR FOR
      SELECT DISTINCT e.user, e.host, e.role FROM mayfly.elevations e
      WHERE e.revoked_at IS NULL AND e.expires_at <= UTC_TIMESTAMP(6)
      AND LEFT(own, CHAR_LENGTH(e.user) + 1) <> CONCAT(e.user, '@')
      AND NOT EXISTS (SELECT 1 FROM mayfly.elevations o WHERE o.user = e.user AND o.host = e.host AND o.role = e.role
                      AND o.revoked_at IS NULL AND o.expires_at > UTC_TIMESTAMP(6))
      LIMIT 1000;
    DECLARE elevated CURSOR FOR
      SELECT DISTINCT p.ID FROM information_schema.PROCESSLIST p
      JOIN mayfly.elevations e ON e.user = CONVERT(p.USER USING utf8mb4) COLLATE utf8mb4_bin
      WHERE e.revoked_at > UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AND e.ends_sessions AND p.ID <= e.sessions_to;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END;
    SET finished = FALSE;
    OPEN lapsed;
    revoking: LOOP
      FETCH lapsed INTO due_user, due_host, given;
      IF finished OR SYSDATE(6) > began + INTERVAL 800000 MICROSECOND THEN
        LEAVE revoking;
      END IF;
      SET code = 0, words = NULL;
      SET @mayfly = CONCAT('REVOKE ', QUOTE(given), ' FROM ', QUOTE(due_user), '@', QUOTE(due_host));
      IF NOT EXISTS (SELECT 1 FROM mayfly.elevations WHERE user = due_user AND host = due_host AND role = given
                     AND revoked_at IS NULL AND expires_at > UTC_TIMESTAMP(6)) THEN
        BEGIN
          DECLARE EXIT HANDLER FOR SQLEXCEPTION
            GET DIAGNOSTICS CONDITION 1 code = MYSQL_ERRNO, words = MESSAGE_TEXT;
          PREPARE take_role FROM @mayfly;
          EXECUTE take_role;
          DEALLOCATE PREPARE take_role;
        END;
        IF code IN (0, 1396, 1959, 1962, 3162, 3523, 3530) THEN
          UPDATE mayfly.elevations SET revoked_at = UTC_TIMESTAMP(6), trouble = NULL,
            sessions_to = (SELECT COALESCE(MAX(ID), 0) FROM information_schema.PROCESSLIST)
          WHERE user = due_user AND host = due_host AND role = given
          AND revoked_at IS NULL AND expires_at <= UTC_TIMESTAMP(6);
        ELSE
          UPDATE mayfly.elevations SET trouble = LEFT(words, 255)
          WHERE user = due_user AND host = due_host AND role = given AND revoked_at IS NULL;
        END IF;
        IF EXISTS (SELECT 1 FROM mayfly.elevations WHERE user = due_user AND host = due_host AND role = given
                   AND revoked_at IS NULL AND expires_at > UTC_TIMESTAMP(6)) THEN
          SET @mayfly = CONCAT('GRANT ', QUOTE(given), ' TO ', QUOTE(due_user), '@', QUOTE(due_host));
          PREPARE give_role FROM @mayfly;
          EXECUTE give_role;
          DEALLOCATE PREPARE give_role;
        END IF;
      END IF;
    END LOOP;
    CLOSE lapsed;
    IF EXISTS (SELECT 1 FROM mayfly.elevations
               WHERE revoked_at > UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AND ends_sessions) THEN
      SET finished = FALSE;
      OPEN elevated;
      ending: LOOP
        FETCH elevated INTO session;
        IF finished THEN
          LEAVE ending;
        END IF;
        BEGIN
          DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
          KILL CONNECTION session;
        END;
      END LOOP;
      CLOSE elevated;
      DELETE FROM mayfly.elevations WHERE revoked_at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY;
    END IF;
  END;
END//
DELIMITER ;
SQL
