//! Whether every factory, in every state, still fits its table.

use std::{fmt, sync::Arc};

use sqlx::{Acquire, Connection, PgConnection, Postgres};

use crate::{Builder, Error, Model, node::BoxFuture};

type Try = Arc<dyn for<'a> Fn(&'a mut PgConnection) -> BoxFuture<'a, Result<(), Error>> + Send + Sync>;

/// Tries factories in each of their states, on the live tables, and takes everything back.
///
/// ```no_run
/// # use seaworthy_factories::{Error, Factory, Lint};
/// # #[derive(Factory)]
/// # #[factory(table = "users", state(admin(is_admin = true)))]
/// # struct User { #[factory(key)] id: i64, #[factory(value = false)] is_admin: bool }
/// # async fn example(db: &sqlx::PgPool) -> Result<(), Error> {
/// Lint::new().factory::<UserFactory>().run(db).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Lint {
    tries: Vec<(&'static str, Option<&'static str>, Try)>,
}

/// A factory that has its states by name, as the derive writes them.
pub trait States: Sized {
    /// What is made.
    type Model: Model;

    /// The factory as it is defined, under no name, and in each state, under the state's.
    fn states() -> Vec<(Option<&'static str>, Builder<Self::Model>)>;
}

impl Lint {
    /// No factory yet.
    pub fn new() -> Self {
        Lint::default()
    }

    /// This factory, in each of its states.
    pub fn factory<F: States>(mut self) -> Self {
        for (state, builder) in F::states() {
            self = self.state(state, builder);
        }
        self
    }

    /// A factory in a state of its own, as a name for it and what was said about it.
    pub fn state<R: Model>(mut self, name: Option<&'static str>, builder: Builder<R>) -> Self {
        let attempt: Try = Arc::new(move |db| {
            let builder = builder.clone();
            Box::pin(async move { builder.create_on(db).await.map(|_| ()) })
        });
        self.tries.push((R::NAME, name, attempt));
        self
    }

    /// Writes a record of each and takes it back: on a pool in a transaction of its own, on a connection or a transaction in a part of the caller's. Says how many
    /// there were.
    ///
    /// # Errors
    ///
    /// [`Error::Lint`] with everything that was refused, the columns by name; [`Error::Database`] when the database can't be reached.
    pub fn run<'c, A>(self, db: A) -> BoxFuture<'c, Result<usize, Error>>
    where
        A: Acquire<'c, Database = Postgres> + Send + 'c,
    {
        Box::pin(async move {
            let mut connection = db.acquire().await?;
            self.run_on(&mut connection).await
        })
    }

    async fn run_on(&self, connection: &mut PgConnection) -> Result<usize, Error> {
        let mut tx = Connection::begin(&mut *connection).await?;
        let mut failures = Vec::new();
        for (factory, state, attempt) in &self.tries {
            // A part of the transaction for each, so that one that fails leaves the others a sound one.
            let mut part = Connection::begin(&mut *tx).await?;
            if let Err(error) = attempt(&mut part).await {
                failures.push(LintFailure { factory, state: *state, error });
            }
            part.rollback().await?;
        }
        tx.rollback().await?;
        let tried = self.tries.len();
        if failures.is_empty() { Ok(tried) } else { Err(Error::Lint { tried, failures }) }
    }
}

impl fmt::Debug for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries = self.tries.iter().map(|(factory, state, _)| (factory, state));
        f.debug_list().entries(tries).finish()
    }
}

/// A factory that does not fit its table.
#[derive(Debug)]
pub struct LintFailure {
    /// The factory.
    pub factory: &'static str,
    /// The state; nothing for the factory as it is defined.
    pub state: Option<&'static str>,
    /// Why.
    pub error: Error,
}

impl fmt::Display for LintFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            Some(state) => write!(f, "in state `{state}`: {}", self.error),
            None => write!(f, "{}", self.error),
        }
    }
}
