CREATE TABLE IF NOT EXISTS mayfly.server (
  id tinyint NOT NULL PRIMARY KEY,
  identity varchar(64) NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'What this server and its replicas are known by'