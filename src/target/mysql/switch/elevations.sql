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
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'Roles given for a while and until when, in UTC'