//! The ledger of usage in PostgreSQL. Gateways add to the same rows.

use deadpool_postgres::Client;

use super::failure::Failure;
use crate::memory::usage::{Day, Row, Used};

pub async fn add(client: &mut Client, rows: &[Row]) -> Result<(), Failure> {
    let text = |of: fn(&Row) -> &str| rows.iter().map(of).collect::<Vec<_>>();
    let days: Vec<_> = rows.iter().map(|row| row.day.to_string()).collect();
    let number = |at: usize| -> Vec<i64> {
        let numbers = rows.iter().map(|row| row.used.numbers()[at]);
        numbers
            .map(|number| i64::try_from(number).unwrap_or(i64::MAX))
            .collect()
    };
    // In the order of their names, so that two gateways never wait for each other.
    let sql = "INSERT INTO yychat.usage AS u
            (tenant, key, model, day, requests, input, cached, output, micro_usd)
        SELECT tenant, key, model, day::date, requests, input, cached, output, micro_usd
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[],
            $7::int8[], $8::int8[], $9::int8[])
            AS given (tenant, key, model, day, requests, input, cached, output, micro_usd)
        ORDER BY tenant COLLATE \"C\", key COLLATE \"C\", model COLLATE \"C\", day
        ON CONFLICT (tenant, key, model, day) DO UPDATE SET
            requests = u.requests + excluded.requests,
            input = u.input + excluded.input,
            cached = u.cached + excluded.cached,
            output = u.output + excluded.output,
            micro_usd = u.micro_usd + excluded.micro_usd";
    client
        .execute(
            sql,
            &[
                &text(|row| &row.tenant),
                &text(|row| &row.key),
                &text(|row| &row.model),
                &days,
                &number(0),
                &number(1),
                &number(2),
                &number(3),
                &number(4),
            ],
        )
        .await?;
    Ok(())
}

pub async fn read(
    client: &mut Client,
    tenant: Option<&str>,
    (from, to): (Day, Day),
) -> Result<Vec<Row>, Failure> {
    let sql = "SELECT tenant, key, model, day::text, requests, input, cached, output, micro_usd
        FROM yychat.usage
        WHERE day BETWEEN $1::text::date AND $2::text::date
            AND ($3::text IS NULL OR tenant = $3)";
    let (from, to) = (from.to_string(), to.to_string());
    let rows = client.query(sql, &[&from, &to, &tenant]).await?;
    rows.iter()
        .map(|row| {
            let number = |at: &str| -> Result<u64, Failure> {
                // Sums of counts are not negative.
                Ok(u64::try_from(row.try_get::<_, i64>(at)?).unwrap_or(0))
            };
            let day: &str = row.try_get("day")?;
            let day = day.parse().map_err(|error: jiff::Error| {
                Failure::Unavailable(format!("a day that is none: {error}"))
            })?;
            Ok(Row {
                tenant: row.try_get("tenant")?,
                key: row.try_get("key")?,
                model: row.try_get("model")?,
                day,
                used: Used {
                    requests: number("requests")?,
                    input: number("input")?,
                    cached: number("cached")?,
                    output: number("output")?,
                    micro_usd: number("micro_usd")?,
                },
            })
        })
        .collect()
}
