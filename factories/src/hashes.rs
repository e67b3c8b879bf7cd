//! Records in Redis: a hash for each.

use redis::{Pipeline, aio::ConnectionLike};

use crate::{
    Builder, Error, Model,
    files::{Output, fields, text},
};

impl<R: Model, C> Builder<R, C> {
    /// Writes the records, with their parents and children, as hashes: `user:1` has the fields of the first user, where keys count from 1; a record without a key goes by
    /// its place. All of them are sent in one transaction: there are all or none. What has fields of its own is JSON in a field, and nothing is left out.
    ///
    /// The hashes of the same keys are replaced: the same seed writes the same.
    ///
    /// # Errors
    ///
    /// What [`make`](Builder::make) says, [`Error::NoJson`] where a record has no `serde::Serialize`, and [`Error::Redis`].
    pub async fn store(self, redis: &mut (impl ConnectionLike + Send)) -> Result<u64, Error> {
        let mut hashes = Hashes { pipeline: redis::pipe(), rows: 0 };
        hashes.pipeline.atomic();
        let rows = self.put_out(&mut hashes)?;
        if rows > 0 {
            let () = hashes.pipeline.query_async(redis).await?;
        }
        Ok(rows)
    }
}

struct Hashes {
    pipeline: Pipeline,
    rows: u64,
}

impl Output for Hashes {
    fn row(&mut self, factory: &'static str, json: &[u8]) -> Result<(), Error> {
        self.rows += 1;
        let fields = fields(factory, json)?;
        let id = fields.iter().find(|(name, _)| name == "id").map(|(_, id)| text(id));
        let key = format!("{factory}:{}", id.unwrap_or_else(|| self.rows.to_string()));
        let said: Vec<(String, String)> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, text(&value)))
            .collect();
        self.pipeline.del(&key).ignore();
        self.pipeline.hset_multiple(&key, &said).ignore();
        Ok(())
    }
}
