//! `seaworthy up`: services to work with by hand.

use std::{future::pending, path::PathBuf};

use clap::Args;
use seaworthy_command::{Exit, environment, provider, usage};
use seaworthy_harness::{App, Postgres, Redis, Stack};

/// Start Postgres, Redis and the shop's WebSocket server, and hold them until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where the services come from: auto, docker, native or external.
    #[arg(long)]
    provider: Option<String>,
    /// The port of Postgres itself; any free one otherwise.
    #[arg(long)]
    postgres_port: Option<u16>,
    /// The port of Redis itself; any free one otherwise.
    #[arg(long)]
    redis_port: Option<u16>,
}

impl Up {
    pub(crate) async fn execute(self, program: PathBuf) -> Exit {
        let provider = match provider(self.provider.as_deref()) {
            Ok(provider) => provider,
            Err(error) => return usage(&error),
        };
        let mut postgres = Postgres::new();
        if let Some(port) = self.postgres_port {
            postgres = postgres.port(port);
        }
        let mut redis = Redis::new();
        if let Some(port) = self.redis_port {
            redis = redis.port(port);
        }
        let started = Stack::builder()
            .provider(provider)
            .postgres(postgres)
            .redis(redis)
            .websocket(|stack| {
                App::server(program, "/readyz")
                    .args(["shop", "serve", "--listen", "127.0.0.1:{port}"])
                    .env("DATABASE_URL", stack.postgres().url())
                    .env("REDIS_URL", stack.redis().url())
            })
            .start()
            .await;
        let stack = match started {
            Ok(stack) => stack,
            Err(error) => return environment(&error),
        };
        eprintln!("# {}", stack.provider_line());
        for (name, service) in
            [("DATABASE", stack.postgres()), ("REDIS", stack.redis()), ("SHOP", stack.websocket())]
        {
            println!("export {name}_URL='{}'", service.url());
            println!("export {name}_DIRECT_URL='{}'", service.direct_url());
        }
        println!("export WEBSOCKET_URL='{}/ws'", stack.websocket().url().replacen("http", "ws", 1));
        eprintln!("# Ctrl-C ends the services and removes their data.");
        pending().await
    }
}
