//! What the documents show of SQL, run as it stands there on a database that was just migrated: each statement is
//! understood, and each screen has the columns that it really has.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use crate::scene::{KEY, Scene};

const DOCUMENTS: [&str; 5] = [
    "README.md",
    "crates/README.md",
    "sql/README.md",
    "tests/README.md",
    "deploy/README.md",
];

/// The instance that the documents speak of.
const INSTANCE: Uuid = Uuid::from_u128(0x6a8a95e1_9adb_479e_a350_e74c662cabac);

/// A statement, and the columns that the document shows of its answer, where it shows one.
struct Example {
    sql: String,
    columns: Option<Vec<String>>,
}

/// A screen of psql is a line with the prompt, the names of the columns, and a rule below them.
fn examples(text: &str) -> Vec<Example> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut in_sql = false;
    for (number, line) in lines.iter().enumerate() {
        if line.starts_with("```") {
            in_sql = *line == "```sql";
        } else if in_sql {
            found.push(Example {
                sql: (*line).to_owned(),
                columns: None,
            });
        } else if let Some(sql) = line.strip_prefix("=> ") {
            let shown = lines.get(number + 2).filter(|rule| rule.starts_with("---"));
            let names = shown.and_then(|_| lines.get(number + 1));
            found.push(Example {
                sql: sql.to_owned(),
                columns: names.map(|names| {
                    names
                        .split('|')
                        .map(|name| name.trim().to_owned())
                        .collect()
                }),
            });
        }
    }
    found
}

#[tokio::test]
async fn every_statement_that_is_shown_does_what_is_shown() -> Result<()> {
    let scene = Scene::shared().await?;
    scene.migrate().await?;
    let client = &scene.manager;
    scene
        .table
        .insert(client, INSTANCE, Some(1), Some(KEY))
        .await?;
    client
        .batch_execute(
            "create table public.telegram_instances (like public.message_instances including all)",
        )
        .await?;
    let mut seen = 0;
    for document in DOCUMENTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(document);
        for example in examples(&std::fs::read_to_string(path)?) {
            let answer = client
                .simple_query(&example.sql)
                .await
                .with_context(|| format!("{document}: {}", example.sql))?;
            seen += 1;
            let Some(shown) = example.columns else {
                continue;
            };
            let columns = answer.iter().find_map(|message| {
                let SimpleQueryMessage::RowDescription(columns) = message else {
                    return None;
                };
                Some(columns)
            });
            let names = columns.context("no columns")?.iter();
            let names: Vec<_> = names.map(|column| column.name().to_owned()).collect();
            ensure!(names == shown, "{document}: {}: {names:?}", example.sql);
        }
    }
    ensure!(seen >= 18, "only {seen} statements were found");
    Ok(())
}
