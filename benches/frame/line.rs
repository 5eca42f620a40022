//! One caller's line: to Mayfly, or to a database itself.

use mayfly::{
    api::proto::{IssueLeaseRequest, lease_service_client::LeaseServiceClient},
    domain::Engine,
    sandbox::{Administrator, Server},
};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};
use tokio_postgres::{Client, Config, NoTls};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{Job, Outcome};

/// What says who calls.
pub(crate) fn bearer(token: &str) -> Outcome<MetadataValue<Ascii>> {
    Ok(format!("Bearer {token}").parse()?)
}

/// One caller's line.
pub(crate) enum Line {
    /// To Mayfly, over a connection of its own.
    Mayfly(Box<MayflyLine>),
    /// To PostgreSQL.
    Postgres(Client),
    /// To MySQL or MariaDB.
    Mysql(Box<Conn>),
}

/// A caller of Mayfly.
pub(crate) struct MayflyLine {
    pub(crate) client: LeaseServiceClient<Channel>,
    pub(crate) bearer: MetadataValue<Ascii>,
    pub(crate) role: &'static str,
}

impl Line {
    /// Logs in to a server itself.
    pub(crate) async fn to_server(server: &Server, account: &Administrator) -> Outcome<Self> {
        match server.engine() {
            Engine::Postgres => {
                let mut config = Config::new();
                config.host("127.0.0.1").port(server.port()).dbname("postgres");
                config.user(&account.user).password(account.password.expose());
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(Line::Postgres(client))
            }
            Engine::Mysql | Engine::Mariadb => {
                let options = OptsBuilder::default()
                    .ip_or_hostname("127.0.0.1")
                    .tcp_port(server.port())
                    .prefer_socket(false)
                    .user(Some(&account.user))
                    .pass(Some(account.password.expose()));
                Ok(Line::Mysql(Box::new(Conn::new(options).await?)))
            }
        }
    }

    /// Makes an account and says its name.
    pub(crate) async fn create(&mut self, job: Option<&Job>) -> Outcome<String> {
        if let Line::Mayfly(line) = self {
            return line.issue().await;
        }
        let job = job.ok_or("fewer statements than calls")?;
        self.send(&job.message).await?;
        Ok(job.account.clone())
    }

    /// Sends statements as one message and reads all answers.
    pub(crate) async fn send(&mut self, message: &str) -> Outcome<()> {
        match self {
            Line::Mayfly(_) => return Err("Mayfly takes no statements".into()),
            Line::Postgres(client) => drop(client.simple_query(message).await?),
            Line::Mysql(connection) => connection.query_drop(message).await?,
        }
        Ok(())
    }
}

impl MayflyLine {
    async fn issue(&mut self) -> Outcome<String> {
        let mut request = Request::new(IssueLeaseRequest {
            role: self.role.to_owned(),
            ttl: None,
            purpose: "benchmark".to_owned(),
            idempotency_key: String::new(),
        });
        request.metadata_mut().insert("authorization", self.bearer.clone());
        let reply = self.client.issue_lease(request).await?.into_inner();
        Ok(reply.credential.ok_or("a reply without a credential")?.username)
    }
}
