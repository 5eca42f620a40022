//! Throwaway database servers for `mayfly dev`, tests and benchmarks: found, started on a free loopback port in a
//! directory of their own, and gone without a trace however the process that started them ends.
//!
//! [`Installation`] adds what a Mayfly needs to serve them: a configuration, secrets in files, tokens.
//!
//! Nothing that serves real targets may depend on this room, and nothing here touches a server it did not start.

mod binaries;
mod configuration;
mod guard;
mod identity;
mod installation;
mod issuer;
mod layout;
mod look;
mod mysql;
mod port;
mod postgres;
mod sample;
mod server;
mod sql;
mod statements;

pub use binaries::{Binaries, BinariesNotFound, Locations, ServerVersion};
pub use configuration::{TrialTarget, trial_configuration};
pub use installation::{Installation, InstallationError, InstallationSpec, InstalledTarget};
pub use issuer::{JOB_LIFE, LocalIssuer, SigningError};
pub use layout::ServerTls;
pub use sample::{Sample, SampleError, SampleNames, sample_statements};
pub use server::{Administrator, Durability, SandboxError, Server, ServerSpec};
