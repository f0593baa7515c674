//! The rules of accounts, each tried on this process's own and on a real server's.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use super::process::Process;
use super::valkey::{Seeding, Valkey};
use super::{Account, Ask, Cost, Decision, LEASE, Limit, Settlement, Spent, Unit};
use crate::config::model::{Period, Rate};
use crate::shared::Link;
use crate::shared::testing::Server;

/// Either implementation.
enum Accounts {
    Process(Process),
    Valkey(
        Box<Valkey>,
        Box<Link>,
        #[expect(dead_code, reason = "ends with the test")] Server,
    ),
}

impl Accounts {
    fn both() -> [Self; 2] {
        let server = Server::start();
        let link = Link::new(&server.url().into(), Duration::from_secs(30)).expect("a URL");
        [
            Self::Process(Process::default()),
            Self::Valkey(Box::default(), Box::new(link), server),
        ]
    }

    async fn admit(&self, ask: &Ask<'_>) -> Decision {
        match self {
            Self::Process(process) => process.admit(ask, Timestamp::now()),
            Self::Valkey(valkey, link, _) => valkey.admit(link, ask).await.expect("an answer").0,
        }
    }

    async fn settle(&self, ask: &Settlement<'_>) {
        match self {
            Self::Process(process) => process.settle(ask, Timestamp::now()),
            Self::Valkey(valkey, link, _) => {
                let settled = valkey.settle(link, ask, None).await;
                settled.expect("an answer");
            }
        }
    }

    async fn seed(&self, account: &Account, used: &[Spent]) {
        match self {
            Self::Process(process) => process.seed(account, used, Timestamp::now()),
            Self::Valkey(valkey, link, _) => {
                let begin = (account, Seeding::Begin);
                let seeded = valkey.seed(link, begin, used, Timestamp::now()).await;
                seeded.expect("an answer");
            }
        }
    }
}

fn account() -> Account {
    Account {
        tenant: "acme {inc}".into(),
        key: "app".into(),
    }
}

fn month(unit: Unit, amount: u64) -> Limit {
    Limit {
        unit,
        amount,
        per: Period::Month,
    }
}

fn ask<'a>(account: &'a Account, id: u128, tokens: u64, limits: &'a [Limit]) -> Ask<'a> {
    Ask {
        account,
        id,
        cost: Cost {
            tokens,
            micro_usd: 0,
        },
        lease: LEASE,
        rate: None,
        limits,
    }
}

fn settlement<'a>(ask: &Ask<'a>, tokens: u64) -> Settlement<'a> {
    Settlement {
        account: ask.account,
        id: ask.id,
        cost: Cost {
            tokens,
            micro_usd: 10 * tokens,
        },
        limits: ask.limits,
    }
}

const fn admitted(tokens_left: u64) -> Decision {
    Decision::Admitted {
        tokens_left: Some(tokens_left),
    }
}

#[tokio::test]
async fn what_is_reserved_counts_until_it_is_settled_by_what_was_used() {
    for accounts in Accounts::both() {
        let (account, limits) = (account(), [month(Unit::Tokens, 100)]);
        let first = ask(&account, 1, 60, &limits);
        assert_eq!(accounts.admit(&first).await, Decision::Unknown);
        accounts.seed(&account, &[]).await;
        assert_eq!(accounts.admit(&first).await, admitted(40));
        // There is room left, so it goes in, though its guess is larger.
        assert_eq!(
            accounts.admit(&ask(&account, 2, 60, &limits)).await,
            admitted(0)
        );
        let third = ask(&account, 3, 1, &limits);
        assert_eq!(accounts.admit(&third).await, Decision::OverBudget(0));
        accounts.settle(&settlement(&first, 10)).await;
        assert_eq!(accounts.admit(&third).await, admitted(29));
        accounts
            .settle(&settlement(&ask(&account, 2, 60, &limits), 90))
            .await;
        assert_eq!(
            accounts.admit(&ask(&account, 4, 1, &limits)).await,
            Decision::OverBudget(0)
        );
    }
}

#[tokio::test]
async fn the_budget_that_is_used_up_is_named_and_nothing_is_taken_of_the_others() {
    for accounts in Accounts::both() {
        let account = account();
        let limits = [month(Unit::Tokens, 1_000), month(Unit::MicroUsd, 100)];
        accounts.seed(&account, &[]).await;
        let first = Ask {
            cost: Cost {
                tokens: 10,
                micro_usd: 100,
            },
            ..ask(&account, 1, 10, &limits)
        };
        assert_eq!(accounts.admit(&first).await, admitted(990));
        assert_eq!(
            accounts.admit(&ask(&account, 2, 10, &limits)).await,
            Decision::OverBudget(1)
        );
        let tokens_alone = &limits[..1];
        assert_eq!(
            accounts.admit(&ask(&account, 3, 10, tokens_alone)).await,
            admitted(980)
        );
    }
}

#[tokio::test]
async fn an_account_begins_with_what_the_ledger_says_and_is_seeded_once() {
    for accounts in Accounts::both() {
        let (account, limits) = (account(), [month(Unit::Tokens, 100)]);
        let spent = |amount| Spent {
            unit: Unit::Tokens,
            per: Period::Month,
            amount,
        };
        accounts.seed(&account, &[spent(70)]).await;
        accounts.seed(&account, &[spent(0)]).await;
        assert_eq!(
            accounts.admit(&ask(&account, 1, 10, &limits)).await,
            admitted(20)
        );
    }
}

#[tokio::test]
async fn a_reservation_whose_lease_has_ended_is_given_back() {
    for accounts in Accounts::both() {
        let (account, limits) = (account(), [month(Unit::Tokens, 100)]);
        accounts.seed(&account, &[]).await;
        let ended = Ask {
            lease: Duration::ZERO,
            ..ask(&account, 1, 100, &limits)
        };
        assert_eq!(accounts.admit(&ended).await, admitted(0));
        assert_eq!(
            accounts.admit(&ask(&account, 2, 100, &limits)).await,
            admitted(0)
        );
        // What it used is charged all the same, by whoever is left to tell.
        accounts.settle(&settlement(&ended, 30)).await;
        accounts
            .settle(&settlement(&ask(&account, 2, 100, &limits), 0))
            .await;
        assert_eq!(
            accounts.admit(&ask(&account, 3, 50, &limits)).await,
            admitted(20)
        );
    }
}

#[tokio::test]
async fn a_rate_holds_with_its_burst_and_says_how_long_to_wait() {
    for accounts in Accounts::both() {
        let account = account();
        accounts.seed(&account, &[]).await;
        let asking = Ask {
            rate: Some(Rate {
                period: Duration::from_secs(3_600),
                burst: NonZeroU32::new(2).expect("two"),
            }),
            ..ask(&account, 1, 1, &[])
        };
        for _ in 0..2 {
            let decision = accounts.admit(&asking).await;
            assert_eq!(decision, Decision::Admitted { tokens_left: None });
        }
        let Decision::OverRate(wait) = accounts.admit(&asking).await else {
            panic!("the burst was used up");
        };
        assert!(wait > Duration::from_secs(3_500) && wait <= Duration::from_secs(3_600));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_go_beyond_a_budget_nor_are_held_back_below_it() {
    let server = Server::start();
    let limits = [month(Unit::Tokens, 10_000)];
    let whole = account();
    let link = || Link::new(&server.url().into(), Duration::from_secs(30)).expect("a URL");
    let begin = (&whole, Seeding::Begin);
    let seeding = Valkey::default();
    let seeded = seeding.seed(&link(), begin, &[], Timestamp::now()).await;
    seeded.expect("seeded");
    let mut gateways = tokio::task::JoinSet::new();
    for number in 0..3_u128 {
        let (valkey, link, account) = (Valkey::default(), link(), whole.clone());
        gateways.spawn(async move {
            let mut admitted = 0;
            for turn in 0..600 {
                let asking = ask(&account, number * 1_000 + turn + 1, 10, &limits);
                match valkey.admit(&link, &asking).await.expect("an answer").0 {
                    Decision::Admitted { .. } => {
                        admitted += 1;
                        let settled = valkey.settle(&link, &settlement(&asking, 10), None).await;
                        settled.expect("an answer");
                    }
                    Decision::OverBudget(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            admitted
        });
    }
    let admitted: Vec<u32> = gateways.join_all().await;
    assert_eq!(admitted.iter().sum::<u32>(), 1_000);
}
