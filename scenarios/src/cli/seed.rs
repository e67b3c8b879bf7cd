//! `seaworthy seed`: the shop's and the queue's tables, filled.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use seaworthy_command::{Exit, environment, usage};
use seaworthy_factories::{Buildable, Builder, Error, Many, Model, Progress, Seed};
use sqlx::PgPool;

use crate::records::{
    DeadLetterFactory, FulfilmentFactory, JobFactory, NewsFactory, OrderFactory, ReadyJobFactory,
};

/// How long a server gets to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Fill the tables of the shop, or of its queue, with realistic records.
#[derive(Debug, Args)]
pub(crate) struct Fill {
    /// What to make; whatever it refers to is made with it.
    #[arg(long, value_enum)]
    factory: Kind,
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// The root of all values: the same seed makes the same records.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of the first one: the same numbers of the same seed are the same records.
    #[arg(long, default_value_t = 0)]
    starting_at: u64,
    /// The database; its tables are made if they are not there.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Write lines of JSON into this folder, rather than into a database.
    #[arg(long, conflicts_with = "csv")]
    json_lines: Option<PathBuf>,
    /// Write CSV into this folder, rather than into a database.
    #[arg(long)]
    csv: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Orders that were placed.
    Order,
    /// Orders that were fulfilled.
    FulfilledOrder,
    /// Changes that are still to be published.
    News,
    /// Jobs that can be claimed.
    Job,
    /// Jobs that were given up.
    DeadLetter,
}

impl Fill {
    pub(crate) async fn execute(self) -> Exit {
        let count = self.count;
        match self.factory {
            Kind::Order => self.fill(OrderFactory::new().count(count)).await,
            Kind::FulfilledOrder => {
                self.fill(OrderFactory::new().fulfilled().count(count).has(FulfilmentFactory::new())).await
            }
            Kind::News => self.fill(NewsFactory::new().count(count)).await,
            Kind::Job => self.fill(JobFactory::new().count(count).has(ReadyJobFactory::new())).await,
            Kind::DeadLetter => self.fill(DeadLetterFactory::new().count(count)).await,
        }
    }

    async fn fill<F: Buildable<Quantity = Many>>(self, factory: F) -> Exit {
        let mut builder = factory.into_builder().starting_at(self.starting_at);
        if let Some(seed) = self.seed {
            builder = builder.seed(Seed(seed));
        }
        let started = Instant::now();
        let written = match (&self.json_lines, &self.csv, &self.database_url) {
            (Some(folder), _, _) => builder.write_json_lines(folder),
            (_, Some(folder), _) => builder.write_csv(folder),
            (None, None, Some(url)) => match into_database(url, builder).await {
                Ok(written) => written,
                Err(exit) => return exit,
            },
            (None, None, None) => {
                return usage(&"say where to: --database-url (or DATABASE_URL), --json-lines or --csv");
            }
        };
        match written {
            Ok(rows) => {
                let seconds = started.elapsed().as_secs_f64();
                println!("{rows} rows in {seconds:.1} s, {:.0} a second", rows as f64 / seconds);
                Exit::Held
            }
            Err(error) => environment(&error),
        }
    }
}

async fn into_database<R: Model>(url: &str, builder: Builder<R, Many>) -> Result<Result<u64, Error>, Exit> {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(2).acquire_timeout(CONNECT);
    let pool: PgPool = options.connect(url).await.map_err(|error| environment(&error))?;
    seaworthy_shop::migrate(&pool).await.map_err(|error| environment(&error))?;
    let bar = Bar::new();
    let written = builder.insert_telling(&pool, |progress| bar.show(progress)).await;
    bar.clear();
    pool.close().await;
    Ok(written)
}

/// How far it is, on a terminal.
struct Bar {
    is_terminal: bool,
    shown: Mutex<Option<Instant>>,
}

impl Bar {
    const WIDTH: usize = 40;
    const EVERY: Duration = Duration::from_millis(50);

    fn new() -> Self {
        Bar { is_terminal: std::io::stderr().is_terminal(), shown: Mutex::default() }
    }

    fn show(&self, progress: Progress) {
        let Ok(mut shown) = self.shown.lock() else { return };
        if !self.is_terminal || shown.is_some_and(|shown| shown.elapsed() < Self::EVERY) {
            return;
        }
        *shown = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(progress));
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `[████      ] 40% of 1000 rows, shop.orders`
fn line(progress: Progress) -> String {
    let share = progress.rows as f64 / progress.total.max(1) as f64;
    let full = (share * Bar::WIDTH as f64) as usize;
    let bar = format!("{}{}", "█".repeat(full), " ".repeat(Bar::WIDTH.saturating_sub(full)));
    format!("[{bar}] {:3.0}% of {} rows, {}", share * 100.0, progress.total, progress.table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is() {
        let check = |rows, text: &str| {
            let shown = line(Progress { table: "shop.orders", rows, total: 1_000 });
            assert_eq!(shown.replace([' ', '█'], ""), text);
            assert_eq!(shown.chars().position(|letter| letter == ']'), Some(Bar::WIDTH + 1), "{shown}");
        };
        check(0, "[]0%of1000rows,shop.orders");
        check(400, "[]40%of1000rows,shop.orders");
        check(1_000, "[]100%of1000rows,shop.orders");
    }
}
