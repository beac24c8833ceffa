//! Pairs through the farm, next to pgbench with the same statements.

use std::{collections::HashMap, fs, path::Path, process::Command};

use botfarm::{PostgresFarm, ProjectId};
use sqlx::{Connection, PgConnection};

use crate::{Result, TIME, ask, ended, fill, median, pairs, tidy};

/// The farm and pgbench take turns: each has so many, and the median of them counts.
const ROUNDS: usize = 5;
const CLIENTS: [usize; 2] = [1, 32];
/// With the first, 32 clients have as many free bots as with the second when 99 % of that are held: one.
pub(crate) const POOLS: [usize; 4] = [1, 50, 10_000, 1_000_000];
const HELD: [usize; 2] = [0, 99];

/// `free` is what there was of pools of which nothing was held, by pool and clients.
pub(crate) async fn next_to_pgbench(
    farm: &PostgresFarm,
    url: &str,
    pool: usize,
    free: &mut HashMap<(usize, usize), f64>,
) -> Result<()> {
    let project = ProjectId::new();
    fill(farm, &project, pool).await?;
    println!("pool        held  clients   farm pairs/s   pgbench pairs/s   ratio");
    for held in HELD {
        let held_bots = pool * held / 100;
        if held > 0 && held_bots == 0 {
            continue;
        }
        hold(url, &project, held_bots).await?;
        for clients in CLIENTS {
            let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                // Counted by the history, which has a row for each pair that was one: with more clients than free bots, not
                // every try is.
                tidy(url).await?;
                let before = ended(url).await?;
                let time = pgbench(url, &project, clients)?;
                theirs.push((ended(url).await? - before) / time);
                tidy(url).await?;
                let of = project.clone();
                ours.push(pairs(std::slice::from_ref(farm), clients, TIME, move |_| ask(&of)).await?);
                ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
            }
            let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
            println!("{pool:>9}  {held:>3} %  {clients:>7}  {ours:>13.0}  {theirs:>16.0}  {ratio:>6.2}");
            if held == 0 {
                free.insert((pool, clients), ours);
                continue;
            }
            for of in [pool, pool - held_bots] {
                if let Some(free) = free.get(&(of, clients)) {
                    println!("{:>26} {of} free: {:.2} times as many", "", free / ours);
                }
            }
        }
    }
    Ok(())
}

/// Lets the first `held` bots of the pool be held for a day.
async fn hold(url: &str, project: &ProjectId, held: usize) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query(
        "update bot_slots s
        set version = version + 1, lease_id = gen_random_uuid(), phase = 'seen', size = 1, terms = '{\"holder\": \"somebody\"}',
            leased_at = now(), ttl = '1 day', expires_at = now() + interval '1 day', free_at = now() + interval '1 day'
        from (
            select s.bot_id
            from bot_slots s
            join pools p on p.id = s.pool_id
            where p.project = $1
            order by s.bot_id
            limit $2
        ) f
        where s.bot_id = f.bot_id",
    )
    .bind(project.to_string())
    .bind(i64::try_from(held)?)
    .execute(&mut connection)
    .await?;
    sqlx::query("vacuum analyze bots").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// The statement of the backend that contains `part`, with its parameters filled in.
fn statement(part: &str, parameters: &[&str]) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("botfarm-postgres/.sqlx");
    for entry in fs::read_dir(folder)? {
        let file: serde_json::Value = serde_json::from_slice(&fs::read(entry?.path())?)?;
        let Some(query) = file["query"].as_str().filter(|query| query.contains(part)) else { continue };
        let mut query: String =
            query.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
        // Names of columns that pgbench can take for its variables.
        query = query.replace("!\"", "\"");
        for (index, parameter) in parameters.iter().enumerate().rev() {
            query = query.replace(&format!("${}", index + 1), parameter);
        }
        return Ok(query);
    }
    Err(format!("no statement contains {part}").into())
}

/// Pairs through pgbench, and the farm's refusal when there was nothing to claim; returns the seconds that it took.
fn pgbench(url: &str, project: &ProjectId, clients: usize) -> Result<f64> {
    let id = "('00000000-0000-4000-8000-' || lpad(to_hex(:r::bigint), 12, '0'))::uuid";
    let selector = format!(
        r#"{{"project": "{project}", "env": "stage", "domain": "canary", "labels": [], "condition": "ready"}}"#
    );
    let (one, all) = (format!("'{selector}'::jsonb"), format!("'[{selector}]'::jsonb"));
    let claim = statement(
        "botfarm_acquire(",
        &[
            id,
            "gen_random_uuid()",
            "'00000000-0000-4000-8000-000000000000'::uuid",
            "'try'::text",
            &all,
            "'{}'::uuid[]",
            "null::text",
            r#"'{"holder": "bench"}'::jsonb"#,
            "null::bytea",
            "interval '900 s'",
            "interval '15 s'",
            "interval '3 s'",
            "interval '30 s'",
            "interval '15 s'",
            "interval '15 s'",
            // So that each grant says since when its bot was free.
            "0::bigint",
            "'{}'::text[]",
        ],
    )?;
    let end = statement(
        "botfarm_end(",
        &[id, "'released'::text", "interval '0'", "'ready'::text", "'clean'::text", "null::text", "null::text"],
    )?;
    let standing = statement("from botfarm_standing(", &[&one, "'{}'::uuid[]", id, "interval '15 s'"])?;
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("pair.sql");
    let text = format!(
        // (A variable of pgbench can't be null.)
        "\\set r random(1, 281474976710655)\nselect c.*, coalesce(c.was_free_since, -1) as free_since from ({claim}) c \\aset\n\
         \\if :free_since >= 0\n{end};\n\\else\n{standing};\n\\endif\n"
    );
    fs::write(&script, text)?;
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", TIME.as_secs()))
        .arg(format!("--file={}", script.display()))
        // What sqlx adds to a URL, libpq does not know.
        .arg(url.split('?').next().unwrap_or(url))
        .output()?;
    if !output.status.success() {
        return Err(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(TIME.as_secs_f64())
}
