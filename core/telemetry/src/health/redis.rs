//! Whether Redis answers.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use tokio::sync::Mutex;

use super::{Check, Outcome};

/// Sends `PING` over a connection of its own, which is kept from one check to the next.
#[derive(Debug)]
pub struct RedisCheck {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisCheck {
    /// Checks the server of this client.
    pub fn new(client: Client) -> Self {
        RedisCheck { client, connection: Mutex::new(None) }
    }

    async fn ping(&self) -> Result<(), redis::RedisError> {
        /// Shorter than any sensible deadline of a check, so that the error is Redis' own.
        const PATIENCE: Duration = Duration::from_millis(800);
        let mut kept = self.connection.lock().await;
        // Taken out, so that a connection that fails, or hangs until the check is stopped, is not used again.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let settings = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(PATIENCE));
                self.client.get_multiplexed_async_connection_with_config(&settings).await?
            }
        };
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        *kept = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl Check for RedisCheck {
    async fn check(&self) -> Outcome {
        let began = Instant::now();
        // A connection that the server closed since the last check is not the server's failure.
        let mut outcome = self.ping().await;
        if outcome.is_err() {
            outcome = self.ping().await;
        }
        match outcome {
            Ok(()) => Outcome::pass().observed((began.elapsed().as_secs_f64() * 1e5).round() / 100.0, "ms"),
            Err(error) => Outcome::fail("it does not answer").because(error),
        }
    }
}
