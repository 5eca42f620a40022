//! MySQL 8.0.21 and later, MariaDB 10.6 and later.
