//! Looking behind Mayfly's back, as the server's own administrator.

use mysql_async::prelude::Queryable;

use super::{mysql, postgres, sample::SampleError, server::Server};
use crate::domain::Engine;

const IN_POSTGRES: &str = "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = $1";
const IN_MYSQL: &str = "SELECT COUNT(*) FROM mysql.user WHERE User = ?";

impl Server {
    /// Whether an account exists, as the server's catalogue says.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn has_account(&self, name: &str) -> Result<bool, SampleError> {
        let found = match self.engine() {
            Engine::Postgres => self.count_in_postgres(name).await?,
            Engine::Mysql | Engine::Mariadb => self.count_in_mysql(name).await?,
        };
        Ok(found > 0)
    }

    async fn count_in_postgres(&self, name: &str) -> Result<i64, SampleError> {
        let client = postgres::connect(self.port(), self.administrator(), "postgres")
            .await
            .map_err(|source| SampleError::Connect(Engine::Postgres, source.into()))?;
        let row = client.query_one(IN_POSTGRES, &[&name]).await;
        let failed = |source: tokio_postgres::Error| SampleError::Statement {
            statement: IN_POSTGRES,
            source: source.into(),
        };
        row.and_then(|row| row.try_get(0)).map_err(failed)
    }

    async fn count_in_mysql(&self, name: &str) -> Result<i64, SampleError> {
        let engine = self.engine();
        let mut connection = mysql::connect(self.port(), self.administrator())
            .await
            .map_err(|source| SampleError::Connect(engine, source.into()))?;
        let count = connection.exec_first(IN_MYSQL, (name,)).await;
        let failed = |source: mysql_async::Error| SampleError::Statement {
            statement: IN_MYSQL,
            source: source.into(),
        };
        let count = count.map_err(failed)?;
        connection.disconnect().await.map_err(|source| SampleError::Connect(engine, source.into()))?;
        Ok(count.unwrap_or(0))
    }
}
