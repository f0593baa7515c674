//! What becomes of shared accounts when the store loses some of them, or tells another time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use redis::Cmd;

use super::valkey::{Seeding, Settled, Valkey};
use super::{Account, Ask, Cost, Decision, LEASE, Limit, Settlement, Spent, Unit};
use crate::config::model::Period;
use crate::shared::Link;
use crate::shared::testing::Server;

const KEYS: [&str; 3] = ["account", "leases", "held"];

/// A gateway with an account that may use 100 tokens a month.
struct Gateway {
    valkey: Valkey,
    link: Link,
    account: Account,
    limits: [Limit; 1],
}

impl Gateway {
    fn at(server: &Server) -> Self {
        Self {
            valkey: Valkey::default(),
            link: Link::new(&server.url().into(), Duration::from_secs(30)).expect("a URL"),
            account: Account {
                tenant: "acme".into(),
                key: "app".into(),
            },
            limits: [Limit {
                unit: Unit::Tokens,
                amount: 100,
                per: Period::Month,
            }],
        }
    }

    async fn seed(&self, seeding: Seeding, amount: u64, now: Timestamp) -> String {
        let spent = [Spent {
            unit: Unit::Tokens,
            per: Period::Month,
            amount,
        }];
        let account = (&self.account, seeding);
        let seeded = self.valkey.seed(&self.link, account, &spent, now).await;
        seeded.expect("an answer")
    }

    async fn admit(&self, id: u128, tokens: u64) -> Decision {
        let ask = Ask {
            account: &self.account,
            id,
            cost: Cost {
                tokens,
                micro_usd: 0,
            },
            lease: LEASE,
            rate: None,
            limits: &self.limits,
        };
        let answer = self.valkey.admit(&self.link, &ask).await;
        answer.expect("an answer").0
    }

    async fn settle(&self, id: u128, tokens: u64, born: Option<&str>) -> Settled {
        let settlement = Settlement {
            account: &self.account,
            id,
            cost: Cost {
                tokens,
                micro_usd: 0,
            },
            limits: &self.limits,
        };
        let settled = self.valkey.settle(&self.link, &settlement, born).await;
        settled.expect("an answer")
    }

    async fn lose(&self, key: &str) {
        let name = format!("yychat:{{acme/app}}:{key}");
        self.run(redis::cmd("DEL").arg(name)).await;
    }

    async fn run(&self, command: &Cmd) {
        let done = self.link.query::<redis::Value>(command).await;
        done.expect("an answer");
    }
}

const fn left(tokens: u64) -> Decision {
    Decision::Admitted {
        tokens_left: Some(tokens),
    }
}

#[tokio::test]
async fn whatever_of_an_account_is_evicted_neither_lets_in_more_nor_less() {
    let server = Server::start();
    for (number, key) in (0..).zip(KEYS) {
        let gateway = Gateway::at(&server);
        gateway.run(&redis::cmd("FLUSHALL")).await;
        gateway.seed(Seeding::Begin, 0, Timestamp::now()).await;
        assert_eq!(gateway.admit(number + 1, 60).await, left(40));
        gateway.lose(key).await;
        if key == "account" {
            assert_eq!(gateway.admit(9, 1).await, Decision::Unknown);
            gateway.seed(Seeding::Begin, 10, Timestamp::now()).await;
            assert_eq!(gateway.admit(9, 20).await, left(10), "what is held is held");
        }
        // What one holds is known by two keys: without its amount it is worth nothing, without its
        // end it ends when a lease that begins now would.
        let held = if key == "held" { 0 } else { 60 };
        if key != "account" {
            assert_eq!(gateway.admit(9, 20).await, left(80 - held), "{key}");
        }
        gateway.settle(number + 1, 50, None).await;
        gateway.settle(9, 5, None).await;
        let used = if key == "account" { 65 } else { 55 };
        assert_eq!(gateway.admit(10, 0).await, left(100 - used), "{key}");
    }
}

#[tokio::test]
async fn scripts_that_the_server_lost_are_sent_again() {
    let server = Server::start();
    let gateway = Gateway::at(&server);
    gateway.seed(Seeding::Begin, 0, Timestamp::now()).await;
    gateway.run(redis::cmd("SCRIPT").arg("FLUSH")).await;
    assert_eq!(gateway.admit(1, 60).await, left(40));
}

#[tokio::test]
async fn a_debt_is_charged_once_whether_or_not_the_account_began_anew() {
    let server = Server::start();
    let gateway = Gateway::at(&server);
    let born = gateway.seed(Seeding::Begin, 0, Timestamp::now()).await;
    gateway.settle(0, 10, Some(&born)).await;
    assert_eq!(gateway.admit(1, 0).await, left(90));
    gateway.run(&redis::cmd("FLUSHALL")).await;
    assert_eq!(gateway.settle(0, 10, Some(&born)).await, Settled::Unknown);
    // The ledger has both debts.
    gateway.seed(Seeding::Begin, 20, Timestamp::now()).await;
    gateway.settle(0, 10, Some(&born)).await;
    assert_eq!(gateway.admit(1, 0).await, left(80));
}

#[tokio::test]
async fn an_account_that_lost_writes_is_raised_to_the_ledger_and_never_lowered() {
    let server = Server::start();
    let gateway = Gateway::at(&server);
    let now = Timestamp::now();
    let born = gateway.seed(Seeding::Begin, 30, now).await;
    assert_eq!(gateway.seed(Seeding::Begin, 90, now).await, born);
    assert_eq!(gateway.seed(Seeding::Raise, 20, now).await, born);
    assert_eq!(gateway.admit(1, 0).await, left(70));
    assert_ne!(gateway.seed(Seeding::Raise, 40, now).await, born);
    assert_eq!(gateway.admit(1, 0).await, left(60));
}

#[tokio::test]
async fn what_another_clock_says_of_another_month_is_not_this_months() {
    let server = Server::start();
    let gateway = Gateway::at(&server);
    let behind = Timestamp::now() - SignedDuration::from_hours(40 * 24);
    gateway.seed(Seeding::Begin, 100, behind).await;
    assert_eq!(gateway.admit(1, 60).await, left(40));
}

#[tokio::test]
async fn a_reservation_that_the_store_lost_is_there_again_while_its_request_lives() {
    let server = Server::start();
    let gateway = Gateway::at(&server);
    let cost = Cost {
        tokens: 60,
        micro_usd: 0,
    };
    let renew = |again| {
        let account = (&gateway.account, 1);
        gateway.valkey.renew(&gateway.link, account, again, LEASE)
    };
    gateway.seed(Seeding::Begin, 0, Timestamp::now()).await;
    renew(None).await.expect("an answer");
    assert_eq!(gateway.admit(2, 0).await, left(100));
    for _ in 0..2 {
        renew(Some(cost)).await.expect("an answer");
        assert_eq!(gateway.admit(2, 0).await, left(40));
    }
    gateway.settle(1, 10, None).await;
    assert_eq!(gateway.admit(2, 0).await, left(90));
}

#[tokio::test]
async fn a_server_that_refuses_is_told_from_one_that_may_come() {
    use std::sync::Arc;

    use crate::shared::Store;
    use crate::telemetry::Metrics;

    let server = Server::start();
    let store = |server: &Server| {
        let metrics = Arc::new(Metrics::new());
        Store::new(&server.url().into(), Duration::from_secs(30), metrics).expect("a URL")
    };
    let here = store(&server);
    let valkey = Valkey::default();
    let greeted = here.greet(valkey.try_out(here.link())).await;
    greeted.expect("it does all that is asked of it");
    let mut command = redis::cmd("ACL");
    command.arg(&["SETUSER", "default", "-eval", "-evalsha"]);
    let set = here.link().query::<redis::Value>(&command).await;
    set.expect("an answer");
    let refused = here.greet(valkey.try_out(here.link())).await;
    let why = refused.expect_err("it may run no scripts").0;
    assert!(why.contains("eval"), "{why}");
    let gone = store(&server);
    drop(server);
    let greeted = gone.greet(valkey.try_out(gone.link())).await;
    greeted.expect("it may come");
    assert!(!gone.is_up());
}
