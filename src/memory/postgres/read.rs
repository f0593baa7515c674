//! What is read of the tables, each in one statement, which sees one moment.

use std::sync::Arc;

use deadpool_postgres::{Client, GenericClient};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::Alarm;
use super::failure::Failure;
use super::row::{self, COLUMNS, Name, escape};
use crate::memory::record::{Names, Record};
use crate::memory::scope::Scope;
use crate::memory::store::{Loaded, Page, Position, Selection};

type Parameter<'a> = &'a (dyn ToSql + Sync);

pub async fn query(
    client: &impl GenericClient,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, Failure> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, parameters).await?)
}

async fn number(client: &Client, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Failure> {
    let statement = client.prepare_cached(sql).await?;
    let number: i64 = client.query_one(&statement, parameters).await?.try_get(0)?;
    Ok(number.cast_unsigned())
}

pub async fn load(client: &Client, scope: Scope, alarm: &Arc<Alarm>) -> Result<Loaded, Failure> {
    let name = Name::of(&scope);
    let sql = format!(
        "SELECT {COLUMNS}, v.vector, s.version, s.records
         FROM yychat.scopes s
         LEFT JOIN yychat.records r ON r.scope = s.id
         LEFT JOIN yychat.vectors v ON v.scope = r.scope AND v.id = r.id
         WHERE s.tenant = $1 AND s.kind = $2 AND s.holder = $3"
    );
    let rows = query(client, &sql, &[&name.tenant, &name.kind, &name.holder]).await?;
    let alarm = alarm.clone();
    // A large scope would hold up whoever else waits for this thread.
    tokio::task::spawn_blocking(move || loaded(&rows, &scope, &alarm))
        .await
        .map_err(|e| Failure::Unavailable(e.to_string()))?
}

fn loaded(rows: &[Row], scope: &Scope, alarm: &Alarm) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    let Some(first) = rows.first() else {
        return Ok(loaded);
    };
    loaded.version = first.try_get::<_, i64>("version")?.cast_unsigned();
    let mut names = Names::default();
    for row in rows {
        let Some(id) = row.try_get::<_, Option<Uuid>>(0)? else {
            continue;
        };
        match row::record(row, scope, &mut names)? {
            Some(record) => loaded.records.push(record),
            None => alarm.raise("record"),
        }
        // One that is corrupt is as good as none: it is made again.
        if let Some(vector) = row::vector(row, scope, id)? {
            loaded.vectors.push((id, vector));
        }
    }
    if (loaded.records.len() as u64) < first.try_get::<_, i64>("records")?.cast_unsigned() {
        alarm.raise("scope");
    }
    loaded.records.sort_by_key(|r| (r.created_at, r.id));
    Ok(loaded)
}

pub async fn get(
    client: &Client,
    tenant: &str,
    id: Uuid,
    alarm: &Alarm,
) -> Result<Option<Record>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS}, s.tenant, s.kind, s.holder
         FROM yychat.records r JOIN yychat.scopes s ON s.id = r.scope
         WHERE r.tenant = $1 AND s.tenant = $1 AND r.id = $2 LIMIT 1"
    );
    let rows = query(client, &sql, &[&escape(tenant), &id]).await?;
    let mut found = records(&rows, alarm)?;
    Ok(found.pop())
}

/// Whose the records of these ids are.
pub async fn holders(
    client: &Client,
    tenant: &str,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Scope)>, Failure> {
    let sql = "SELECT DISTINCT ON (r.id) r.id, s.tenant, s.kind, s.holder
         FROM yychat.records r JOIN yychat.scopes s ON s.id = r.scope
         WHERE r.tenant = $1 AND s.tenant = $1 AND r.id = ANY($2)
         ORDER BY r.id, r.scope";
    let rows = query(client, sql, &[&escape(tenant), &ids]).await?;
    let holder = |row: &Row| -> Result<(Uuid, Scope), Failure> {
        Ok((row.try_get("id")?, row::scope(row)?))
    };
    rows.iter().map(holder).collect()
}

/// The sound records of rows that name their scopes.
fn records(rows: &[Row], alarm: &Alarm) -> Result<Vec<Record>, Failure> {
    let mut names = Names::default();
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let scope = row::scope(row)?;
        match row::record(row, &scope, &mut names)? {
            Some(record) => records.push(record),
            None => alarm.raise("record"),
        }
    }
    Ok(records)
}

/// A tenant's selection as SQL. Of its parameters, `$1` is the tenant.
pub struct Selected {
    /// On records `r` and their scopes `s`.
    pub records: &'static str,
    /// On the scopes `s` in which any of the records may be.
    pub scopes: &'static str,
    parameters: Vec<String>,
    /// Whether it takes whole scopes, so that their counts can be added up.
    whole: bool,
}

impl Selected {
    pub fn new(tenant: &str, selection: &Selection) -> Self {
        let mut parameters = vec![escape(tenant).into_owned()];
        let (records, scopes, whole) = match selection {
            Selection::All => ("r.tenant = $1 AND s.tenant = $1", "s.tenant = $1", true),
            Selection::Scope(scope) => {
                let name = Name::of(scope);
                parameters.extend([name.kind.to_owned(), name.holder]);
                let one = "s.tenant = $1 AND s.kind = $2 AND s.holder = $3";
                (one, one, true)
            }
            Selection::Conversation { id, user: None } => {
                parameters.push(escape(id).into_owned());
                (
                    "r.tenant = $1 AND s.tenant = $1 AND r.conversation = $2",
                    "s.tenant = $1 AND s.id IN (SELECT scope FROM yychat.records
                     WHERE tenant = $1 AND conversation = $2)",
                    false,
                )
            }
            Selection::Conversation {
                id,
                user: Some(user),
            } => {
                parameters.extend([id, user].map(|it| escape(it).into_owned()));
                (
                    "r.tenant = $1 AND r.conversation = $2
                     AND s.tenant = $1 AND s.kind = 'user' AND s.holder = $3",
                    "s.tenant = $1 AND s.kind = 'user' AND s.holder = $3
                     AND s.id IN (SELECT scope FROM yychat.records
                     WHERE tenant = $1 AND conversation = $2)",
                    false,
                )
            }
        };
        Self {
            records,
            scopes,
            parameters,
            whole,
        }
    }

    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        self.parameters
            .iter()
            .map(|it| it as Parameter<'_>)
            .collect()
    }
}

pub async fn list(
    client: &Client,
    selected: &Selected,
    range: (Option<Uuid>, usize),
    alarm: &Alarm,
) -> Result<Page, Failure> {
    let parameters = selected.parameters();
    let total = match selected.whole {
        true => format!(
            "SELECT coalesce(sum(s.records), 0)::bigint FROM yychat.scopes s WHERE {}",
            selected.scopes
        ),
        false => format!(
            "SELECT count(*) FROM yychat.records r JOIN yychat.scopes s ON s.id = r.scope WHERE {}",
            selected.records
        ),
    };
    Ok(Page {
        total: number(client, &total, &parameters).await?,
        ..listed(client, selected, range, alarm).await?
    })
}

/// A list, without counting.
pub async fn listed(
    client: &Client,
    selected: &Selected,
    (mut before, limit): (Option<Uuid>, usize),
    alarm: &Alarm,
) -> Result<Page, Failure> {
    let mut page = Page::default();
    // Once, unless a record is corrupt and another takes its place.
    loop {
        let wanted = (limit - page.records.len()).saturating_add(1);
        let rows = part(client, selected, (before, wanted)).await?;
        before = match rows.last() {
            Some(last) => Some(last.try_get("id")?),
            None => return Ok(page),
        };
        page.records.extend(records(&rows, alarm)?);
        if page.records.len() > limit {
            page.records.truncate(limit);
            page.more = true;
            return Ok(page);
        }
        if rows.len() < wanted {
            return Ok(page);
        }
    }
}

async fn part(
    client: &Client,
    selected: &Selected,
    (before, wanted): (Option<Uuid>, usize),
) -> Result<Vec<Row>, Failure> {
    let mut parameters = selected.parameters();
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    parameters.push(&wanted);
    let limit = parameters.len();
    let older = match &before {
        Some(before) => {
            parameters.push(before);
            format!("AND r.id < ${}", limit + 1)
        }
        None => String::new(),
    };
    let sql = format!(
        "SELECT {COLUMNS}, s.tenant, s.kind, s.holder
         FROM yychat.records r JOIN yychat.scopes s ON s.id = r.scope
         WHERE {} {older} ORDER BY r.id DESC LIMIT ${limit}",
        selected.records
    );
    query(client, &sql, &parameters).await
}

/// Columns of a scan, and where they come from, beside those of records.
const VECTORS: (&str, &str) = (
    ", v.vector",
    "LEFT JOIN yychat.vectors v ON v.scope = r.scope AND v.id = r.id",
);

/// Rows of everything, and where to go on; no position when there is no more.
pub async fn rows(
    client: &impl GenericClient,
    (after, limit): (Option<Position>, usize),
    (columns, joined): (&str, &str),
) -> Result<(Vec<Row>, Option<Position>), Failure> {
    let (scope, id) = after.map_or((i64::MIN, Uuid::nil()), place);
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let sql = format!(
        "SELECT {COLUMNS}{columns}, r.scope, r.tenant AS of_tenant, s.tenant, s.kind, s.holder
         FROM yychat.records r JOIN yychat.scopes s ON s.id = r.scope {joined}
         WHERE (r.scope, r.id) > ($1, $2) ORDER BY r.scope, r.id LIMIT $3"
    );
    let mut rows = query(client, &sql, &[&scope, &id, &wanted]).await?;
    if rows.len() <= limit {
        return Ok((rows, None));
    }
    rows.truncate(limit);
    let next = rows.last().map(position).transpose()?;
    Ok((rows, next))
}

pub async fn scan(
    client: &Client,
    range: (Option<Position>, usize),
    alarm: &Alarm,
) -> Result<(Vec<Record>, Option<Position>), Failure> {
    let (rows, next) = rows(client, range, ("", "")).await?;
    Ok((records(&rows, alarm)?, next))
}

fn position(row: &Row) -> Result<Position, Failure> {
    let scope: i64 = row.try_get("scope")?;
    let id: Uuid = row.try_get("id")?;
    let mut place = scope.to_be_bytes().to_vec();
    place.extend_from_slice(id.as_bytes());
    Ok(Position(place))
}

fn place(Position(place): Position) -> (i64, Uuid) {
    let (scope, id) = place.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let id = Uuid::from_slice(id).unwrap_or_default();
    (i64::from_be_bytes(*scope), id)
}

/// As [`scan`], the records alone that have no up-to-date vector of `space`.
pub async fn unembedded(
    client: &Client,
    space: u64,
    range: (Option<Position>, usize),
    alarm: &Alarm,
) -> Result<(Vec<Record>, Option<Position>), Failure> {
    let (rows, next) = rows(client, range, VECTORS).await?;
    let mut names = Names::default();
    let mut wanting = Vec::new();
    for row in &rows {
        let scope = row::scope(row)?;
        let Some(record) = row::record(row, &scope, &mut names)? else {
            alarm.raise("record");
            continue;
        };
        let vector = row::vector(row, &scope, record.id)?;
        if !vector.is_some_and(|vector| vector.stands_for(space, &record)) {
            wanting.push(record);
        }
    }
    Ok((wanting, next))
}

/// A tenant's users, each with the number of its records.
pub async fn users(
    client: &Client,
    (tenant, after): (&str, &str),
    limit: i64,
) -> Result<Vec<(String, u64)>, Failure> {
    let sql = "SELECT holder, records FROM yychat.scopes WHERE tenant = $1 AND kind = 'user' \
               AND records > 0 AND holder > $2 ORDER BY holder LIMIT $3";
    let rows = query(client, sql, &[&escape(tenant), &escape(after), &limit]).await?;
    let users = rows.iter().map(|row| {
        let (holder, records): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok::<_, Failure>((holder, records.cast_unsigned()))
    });
    users.collect()
}

pub async fn count(client: &Client) -> Result<u64, Failure> {
    let sql = "SELECT coalesce(sum(records), 0)::bigint FROM yychat.scopes";
    number(client, sql, &[]).await
}
