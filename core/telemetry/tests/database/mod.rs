//! One Postgres per test program.

use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

/// Lives as long as the test program; its guardian cleans up after that.
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// Connections of this test, to a database that all tests share.
pub(crate) async fn pool() -> PgPool {
    let stack = STACK
        .get_or_init(async || {
            let provider = ProviderChoice::from_env().unwrap();
            Stack::builder().provider(provider).postgres(Postgres::new()).start().await.unwrap()
        })
        .await;
    // Past the proxy, whose tasks end with the runtime of the test that started the stack.
    PgPoolOptions::new().max_connections(4).connect(&stack.postgres().direct_url()).await.unwrap()
}
