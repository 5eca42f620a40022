//! (being written)
use super::Mysql;
use crate::{domain::Role, target::Examination};
pub(super) async fn examine(_target: &Mysql, _roles: &[&Role]) -> Examination {
    Examination { server: None, clock_offset: None, findings: Vec::new() }
}
