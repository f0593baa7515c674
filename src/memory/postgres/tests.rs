use tokio::runtime::{Builder, Runtime as Tokio};
use tokio_postgres::{Client, NoTls};

use super::*;
use crate::memory::erasure;
use crate::memory::store::Fate;
use crate::memory::store_tests::{
    begun, first_version, is_carried_over, put, record, scope, store_tests,
};

#[path = "../../../tests/it/support/postgres.rs"]
mod server;
pub use server::Server;

fn runtime() -> Tokio {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// What a store needs to live. The runtime is not waited for.
pub struct Alive {
    pub server: Server,
    runtimes: Vec<Tokio>,
}

impl Alive {
    pub fn start() -> Self {
        Self {
            server: Server::start(),
            runtimes: Vec::new(),
        }
    }

    /// A store as another gateway has it.
    pub fn open_at(&mut self, url: &str) -> Result<Postgres, Fault> {
        let runtime = runtime();
        let store = Postgres::open(&SecretString::from(url), runtime.handle().clone());
        self.runtimes.push(runtime);
        store
    }

    fn open(&mut self) -> Postgres {
        let store = self.open_at(&self.server.url("postgres")).unwrap();
        assert_eq!(store.trouble(), None);
        store
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Client {
        let url = self.server.url("postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        for runtime in self.runtimes.drain(..) {
            runtime.shutdown_background();
        }
    }
}

fn open() -> (Postgres, Alive) {
    let mut alive = Alive::start();
    (alive.open(), alive)
}

store_tests!(open);

/// Waits until the store's link says so.
pub async fn until(store: &Postgres, up: bool) {
    let mut state = store.inner.link.state.subscribe();
    let reached = state.wait_for(|state| (*state == State::Up) == up).await;
    drop(reached.unwrap());
}

fn is_scope(elsewhere: &Elsewhere, scope: &Scope) -> bool {
    matches!(elsewhere, Elsewhere::Scope(of) if of == scope)
}

#[tokio::test]
async fn the_first_versions_store_is_carried_over() {
    let mut alive = Alive::start();
    let dump = std::fs::read_to_string(first_version("first.sql")).unwrap();
    alive.client().await.batch_execute(&dump).await.unwrap();
    is_carried_over(&alive.open()).await;
}

#[tokio::test]
async fn a_gateway_hears_what_another_writes_and_not_what_it_writes_itself() {
    let (one, mut alive) = open();
    let two = alive.open();
    let mut heard = two.elsewhere();
    put(&two, &[record("ann", 1)]).await;
    put(&one, &[record("bob", 2)]).await;
    assert!(is_scope(&heard.recv().await.unwrap(), &scope("bob")));
    let all = Selection::Scope(scope("ann"));
    assert_eq!(one.erase("tenant", &all).await.unwrap().records, 1);
    assert!(is_scope(&heard.recv().await.unwrap(), &scope("ann")));
    assert_eq!(two.load(&scope("ann")).await.unwrap().version, 2);

    // Too long for a notification: everything may have changed.
    let long = Scope::of("tenant", Some(&"x".repeat(2000)), None).unwrap();
    assert!(one.inner.link.news(&long).len() < LONGEST_NEWS);
    one.inner.link.heard("not a notification of ours");
    let mut heard = one.elsewhere();
    one.inner
        .link
        .heard("00000000-0000-7000-8000-000000000000 ");
    assert!(matches!(heard.recv().await, Ok(Elsewhere::Everything)));
}

const LONGEST_NEWS: usize = 8000;

#[tokio::test]
async fn a_database_that_goes_away_refuses_at_once_and_comes_back_by_itself() {
    let (store, alive) = open();
    let before = record("ann", 1);
    put(&store, std::slice::from_ref(&before)).await;
    alive.server.stop();
    until(&store, false).await;
    let refused = store.load(&scope("ann")).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(store.trouble().is_some());
    let refused = store.apply(vec![Change::Put(record("ann", 2))]).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );

    let mut heard = store.elsewhere();
    alive.server.start_again();
    assert!(matches!(heard.recv().await, Ok(Elsewhere::Everything)));
    until(&store, true).await;
    assert_eq!(store.load(&scope("ann")).await.unwrap().records, [before]);
    put(&store, &[record("ann", 3)]).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_at_the_start_is_used_once_it_is() {
    let mut alive = Alive::start();
    alive.server.stop();
    let store = alive.open_at(&alive.server.url("postgres")).unwrap();
    assert!(store.trouble().is_some());
    let refused = store.load(&scope("ann")).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    alive.server.start_again();
    until(&store, true).await;
    put(&store, &[record("ann", 1)]).await;
}

#[tokio::test]
async fn gateways_that_start_at_once_make_one_schema() {
    let alive = Alive::start();
    let runtime = runtime();
    let url = SecretString::from(alive.server.url("postgres"));
    let stores: Vec<_> = std::thread::scope(|threads| {
        let start = || Postgres::open(&url, runtime.handle().clone()).unwrap();
        let starting: Vec<_> = (0..8).map(|_| threads.spawn(start)).collect();
        let each = starting.into_iter();
        each.map(|store| store.join().unwrap()).collect()
    });
    for store in &stores {
        assert_eq!(store.trouble(), None);
        put(store, &[record("ann", 1)]).await;
    }
    let loaded = stores[0].load(&scope("ann")).await.unwrap();
    assert_eq!((loaded.version, loaded.records.len()), (8, 8));
    drop(stores);
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_database_that_will_not_serve_is_a_fault() {
    let (_store, mut alive) = open();
    let client = alive.client().await;
    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    client.batch_execute(latin).await.unwrap();
    let fault = alive.open_at(&alive.server.url("latin")).err().unwrap();
    assert!(fault.what.contains("UTF-8"), "{fault}");
    let newer = "UPDATE yychat.schema SET version = 99";
    client.batch_execute(newer).await.unwrap();
    let fault = alive.open_at(&alive.server.url("postgres")).err().unwrap();
    assert!(fault.what.contains("schema 99"), "{fault}");
    // It may be made yet.
    let store = alive.open_at(&alive.server.url("later")).unwrap();
    assert!(store.trouble().unwrap().contains("no such database"));
    client.batch_execute("CREATE DATABASE later").await.unwrap();
    until(&store, true).await;
}

#[tokio::test]
async fn a_connection_killed_within_a_transaction_leaves_nothing_and_harms_nobody() {
    let (store, alive) = open();
    let before = record("ann", 1);
    put(&store, std::slice::from_ref(&before)).await;
    let mut other = alive.client().await;
    let lock = other.transaction().await.unwrap();
    let scopes = "SELECT 1 FROM yychat.scopes FOR UPDATE";
    lock.batch_execute(scopes).await.unwrap();
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.apply(vec![Change::Put(record("ann", 2))]).await }
    });
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND application_name = 'yychat'";
    while lock.query(kill, &[]).await.unwrap().is_empty() {}
    let refused = writing.await.unwrap();
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    lock.rollback().await.unwrap();
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!((loaded.version, loaded.records), (1, vec![before]));
    put(&store, &[record("ann", 3)]).await;
}

#[tokio::test]
async fn writers_that_meet_in_many_scopes_all_come_through() {
    const ROUNDS: usize = 20;
    let mut alive = Alive::start();
    let mut writers = Vec::new();
    for gateway in 0..4 {
        let store = alive.open();
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                // Each in an order of its own.
                let users = (0..10).map(|n| format!("user {}", (n * 3 + gateway * 7 + round) % 10));
                let records: Vec<_> = users.map(|user| record(&user, round)).collect();
                put(&store, &records).await;
                let vector = |it: &Record| {
                    let vector = Vector::new(1, &it.text, &[1.0]).unwrap();
                    (it.scope.clone(), it.id, vector)
                };
                let vectors = records.iter().map(vector).collect();
                store.put_vectors(vectors).await.unwrap();
                let selection = Selection::Conversation {
                    id: "c1".into(),
                    user: None,
                };
                store.erase("tenant", &selection).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let audit = alive.open().audit().await.unwrap();
    assert_eq!((audit.corrupt, audit.orphans, audit.miscounted), (0, 0, 0));
    let kept = (0..ROUNDS).filter(|n| n % 3 != 1).count() as u64;
    assert_eq!(audit.records, 4 * 10 * kept);
}

#[tokio::test]
async fn a_turn_is_saved_before_an_erasure_or_not_at_all() {
    let mut alive = Alive::start();
    let (one, two) = (alive.open(), alive.open());
    for round in 0..40 {
        // Of whom nothing is known yet: there is no row that either could wait for.
        let user = format!("user {round}");
        let late = record(&user, 1);
        let selection = match round % 3 {
            0 => Selection::All,
            1 => Selection::Scope(scope(&user)),
            _ => Selection::Conversation {
                id: "c1".into(),
                user: None,
            },
        };
        let saving = one.apply(vec![begun(&late, erasure::now())]);
        let (saved, erased) = tokio::join!(saving, two.erase("tenant", &selection));
        let (fates, erased) = (saved.unwrap().fates, erased.unwrap());
        let is_erased = fates == [Fate::Erased];
        assert_eq!(u64::from(!is_erased), erased.records, "{round}");
        assert_eq!(one.get("tenant", late.id).await.unwrap(), None, "{round}");
        let new = one.apply(vec![begun(&late, erasure::now())]).await.unwrap();
        assert_eq!(new.fates, [Fate::Done], "{round}");
        two.erase("tenant", &Selection::All).await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_of_the_first_version_goes_on_beside_a_later_one() {
    let mut alive = Alive::start();
    let dump = std::fs::read_to_string(first_version("first.sql")).unwrap();
    let client = alive.client().await;
    client.batch_execute(&dump).await.unwrap();
    put(&alive.open(), &[record("ann", 1)]).await;
    // All that it looks at is this, and all that it writes is by these names.
    let version = client.query_one("SELECT version FROM yychat.schema", &[]);
    assert_eq!(version.await.unwrap().get::<_, i32>(0), 1);
    let sql = "INSERT INTO yychat.records (scope, id, tenant, conversation, role, text, created_at,
            updated_at, source, request_id, generation, history, derived_from, checksum)
        SELECT scope, gen_random_uuid(), tenant, conversation, role, text, created_at,
            updated_at, source, request_id, generation, history, derived_from, checksum
        FROM yychat.records LIMIT 1";
    client.batch_execute(sql).await.unwrap();
}

#[tokio::test]
async fn what_was_called_version_2_between_releases_is_taken_for_what_it_is() {
    let (store, mut alive) = open();
    put(&store, &[record("ann", 1)]).await;
    drop(store);
    let client = alive.client().await;
    let back = "ALTER TABLE yychat.schema DROP COLUMN additions;
        UPDATE yychat.schema SET version = 2;
        DROP TABLE yychat.erasures";
    client.batch_execute(back).await.unwrap();
    let store = alive.open();
    assert_eq!(store.count().await.unwrap(), 1);
    let all = Selection::Scope(scope("ann"));
    assert_eq!(store.erase("tenant", &all).await.unwrap().records, 1);
    let sql = "SELECT version, additions FROM yychat.schema";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (1, 2));
}

#[tokio::test]
async fn a_dump_is_restored_into_an_empty_database() {
    let (store, mut alive) = open();
    let records = [record("ann", 1), record("bob", 2)];
    put(&store, &records).await;
    let of_eve = Selection::Scope(scope("eve"));
    store.erase("tenant", &of_eve).await.unwrap();
    let socket = alive.server.socket();
    let run = |program: &str, arguments: &[&str]| {
        let done = alive.server.run(program, |command| {
            command.arg("-h").arg(socket.parent().unwrap());
            command.args(["-U", "yychat", "-f", "dump.sql"]);
            command.args(arguments);
        });
        assert!(done, "{program}");
    };
    run("pg_dump", &["--schema=yychat", "postgres"]);
    let client = alive.client().await;
    let create = "CREATE DATABASE restored ENCODING 'UTF8' TEMPLATE template0";
    client.batch_execute(create).await.unwrap();
    run("psql", &["-q", "-v", "ON_ERROR_STOP=1", "restored"]);

    let restored = alive.open_at(&alive.server.url("restored")).unwrap();
    assert_eq!(restored.trouble(), None);
    for record in &records {
        let loaded = restored.load(&record.scope).await.unwrap();
        assert_eq!(loaded.records, std::slice::from_ref(record));
    }
    let audit = restored.audit().await.unwrap();
    assert_eq!((audit.records, audit.corrupt, audit.orphans), (2, 0, 0));
    // What was erased is still known, and new scopes get numbers of their own.
    let late = begun(&record("eve", 3), erasure::now() - 60_000_000);
    let fates = restored.apply(vec![late]).await.unwrap().fates;
    assert_eq!(fates, [Fate::Erased]);
    put(&restored, &[record("eve", 4)]).await;
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_never_shown_and_is_found() {
    let (store, alive) = open();
    let records: Vec<_> = (0..6).map(|n| record("ann", n)).collect();
    put(&store, &records).await;
    let client = alive.client().await;
    let change = async |set: &str, record: &Record| {
        let sql = format!("UPDATE yychat.records SET {set} WHERE id = $1");
        assert_eq!(client.execute(&sql, &[&record.id]).await.unwrap(), 1);
    };
    change("text = text || '!'", &records[0]).await;
    change("history = 'no json'", &records[1]).await;
    change("source = 'elsewhere'", &records[2]).await;
    change("checksum = checksum + 1", &records[3]).await;
    change("tenant = 'other'", &records[4]).await;
    let miscount = "UPDATE yychat.scopes SET records = 7";
    client.batch_execute(miscount).await.unwrap();
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.corrupt, audit.orphans, audit.miscounted), (4, 1, 1));
    let of = Selection::Scope(scope("ann"));
    let page = store.list("tenant", &of, None, 1).await.unwrap();
    assert_eq!(page.records, [records[5].clone()]);
    assert!(page.more);
    let loaded = store.load(&scope("ann")).await.unwrap();
    assert_eq!(loaded.records, records[4..]);
    for tenant in ["tenant", "other"] {
        let found = store.get(tenant, records[4].id).await.unwrap();
        assert_eq!(found, None, "neither tenant is trusted");
    }
    assert!(store.corrupt() > 0);
}

/// Whether any table's file holds these bytes.
async fn holds(alive: &Alive, bytes: &str) -> bool {
    alive
        .client()
        .await
        .batch_execute("CHECKPOINT")
        .await
        .unwrap();
    let mut folders = vec![alive.server.data().join("base")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // It may have gone since.
            let file = std::fs::read(&path).unwrap_or_default();
            if memchr::memmem::find(&file, bytes.as_bytes()).is_some() {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn what_was_erased_is_in_the_tables_files_until_they_are_scrubbed() {
    let (store, alive) = open();
    let mut secret = record("ann", 1);
    secret.text = "xyzzy-7731-plugh".into();
    let records = [secret.clone(), record("bob", 2)];
    put(&store, &records).await;
    let client = alive.client().await;
    client
        .batch_execute("ANALYZE yychat.records")
        .await
        .unwrap();
    let all = Selection::Scope(scope("ann"));
    store.erase("tenant", &all).await.unwrap();
    assert!(
        holds(&alive, &secret.text).await,
        "or there is nothing to scrub"
    );
    store.scrub().await.unwrap();
    assert!(!holds(&alive, &secret.text).await);
    let found = store.load(&scope("bob")).await.unwrap().records;
    assert_eq!(found, records[1..]);

    let stranger = "CREATE ROLE stranger LOGIN;
        GRANT USAGE ON SCHEMA yychat TO stranger;
        GRANT ALL ON ALL TABLES IN SCHEMA yychat TO stranger";
    client.batch_execute(stranger).await.unwrap();
    let mut alive = alive;
    let url = alive.server.url("postgres").replace("yychat@", "stranger@");
    let store = alive.open_at(&url).unwrap();
    put(&store, &[record("eve", 1)]).await;
    let refused = store.scrub().await.unwrap_err();
    assert!(refused.to_string().contains("own"), "{refused}");
}
