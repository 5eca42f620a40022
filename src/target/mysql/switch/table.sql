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
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'Accounts of Mayfly and when they expire, in UTC'