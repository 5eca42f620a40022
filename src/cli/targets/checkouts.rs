//! `mayfly targets checkouts`: who holds accounts that are handed out, and who waits for them.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::super::{
    CliError, Context, Exit, duration, pages,
    table::{self, Cell, Column, Paint},
    view,
};
use crate::api::proto;

/// Arguments of `mayfly targets checkouts`.
#[derive(Debug, Args)]
pub struct CheckoutsArgs {
    /// The target [default: all]
    #[arg(value_name = "TARGET", default_value = "", hide_default_value = true)]
    pub target: String,
}

#[derive(Serialize)]
struct CheckoutView {
    target: String,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<view::LeaseView>,
    waiting: Vec<WaiterView>,
}

#[derive(Serialize)]
struct WaiterView {
    principal: String,
    role: String,
    since_time: Option<Timestamp>,
}

impl From<&proto::Checkout> for CheckoutView {
    fn from(checkout: &proto::Checkout) -> Self {
        let waiter = |waiter: &proto::Waiter| WaiterView {
            principal: waiter.principal.clone(),
            role: waiter.role.clone(),
            since_time: view::moment(waiter.since_time),
        };
        Self {
            target: checkout.target.clone(),
            account: checkout.account.clone(),
            lease: checkout.lease.as_ref().map(view::LeaseView::from),
            waiting: checkout.waiting.iter().map(waiter).collect(),
        }
    }
}

pub(super) async fn run(args: CheckoutsArgs, context: &mut Context) -> Result<Exit, CliError> {
    #[derive(Serialize)]
    struct Reply {
        checkouts: Vec<CheckoutView>,
    }
    let connection = context.connect()?;
    let checkouts = pages::all(async |page_size, page_token| {
        let target = args.target.clone();
        let request = connection.call(proto::ListCheckoutsRequest { target, page_size, page_token });
        let reply = connection.targets().list_checkouts(request).await;
        let reply = reply.map_err(|status| connection.explain(&status))?.into_inner();
        Ok((reply.checkouts, reply.next_page_token))
    })
    .await?;
    if context.output.is_json() {
        context.output.json(&Reply { checkouts: checkouts.iter().map(CheckoutView::from).collect() })?;
    } else if checkouts.is_empty() {
        context.output.note("no account was ever handed out");
    } else {
        let now = context.clock.now();
        let rows: Vec<_> = checkouts.iter().map(|checkout| row(checkout, now)).collect();
        let table = table::render(&COLUMNS, &rows, &context.output);
        context.output.data(&table)?;
    }
    Ok(Exit::Ok)
}

const COLUMNS: [Column; 6] = [
    Column::whole("ACCOUNT"),
    Column::whole("TARGET"),
    Column::whole("HOLDER"),
    Column::whole("LEASE"),
    Column::whole("STATE"),
    Column::cut("WAITING", 12),
];

fn row(checkout: &proto::Checkout, now: Timestamp) -> Vec<Cell> {
    let (holder, lease, state) = match &checkout.lease {
        None => (String::new(), String::new(), Cell::painted("locked", Paint::Dim)),
        Some(lease) => (lease.principal.clone(), view::bare(&lease.name).to_owned(), state(lease, now)),
    };
    let waiting: Vec<&str> = checkout.waiting.iter().map(|waiter| waiter.principal.as_str()).collect();
    vec![
        (&checkout.account).into(),
        view::bare(&checkout.target).into(),
        holder.into(),
        lease.into(),
        state,
        waiting.join(", ").into(),
    ]
}

fn state(lease: &proto::Lease, now: Timestamp) -> Cell {
    match (lease.state(), view::moment(lease.expire_time)) {
        (proto::LeaseState::Active, Some(until)) => {
            Cell::painted(format!("held, expires {}", duration::relative(until, now)), Paint::Green)
        }
        _ => Cell::painted(view::state_word(lease), Paint::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_shown_with_its_holder_and_those_who_wait_in_order() {
        let waiter = |name: &str| proto::Waiter { principal: name.to_owned(), ..Default::default() };
        let checkout = proto::Checkout {
            account: "app".into(),
            target: "targets/shop".into(),
            lease: Some(proto::Lease {
                name: "leases/abc".into(),
                principal: "alice".into(),
                state: proto::LeaseState::Active.into(),
                expire_time: Some(prost_types::Timestamp { seconds: 1_600, nanos: 0 }),
                ..Default::default()
            }),
            waiting: vec![waiter("bob"), waiter("carol")],
        };
        let cells = row(&checkout, Timestamp::from_second(1_000).unwrap());
        let expected: [Cell; 6] = [
            "app".into(),
            "shop".into(),
            "alice".into(),
            "abc".into(),
            Cell::painted("held, expires in 10m", Paint::Green),
            "bob, carol".into(),
        ];
        assert_eq!(cells, expected);
        let free = proto::Checkout { lease: None, waiting: Vec::new(), ..checkout };
        let cells = row(&free, Timestamp::from_second(1_000).unwrap());
        assert_eq!(cells[4], Cell::painted("locked", Paint::Dim));
    }
}
