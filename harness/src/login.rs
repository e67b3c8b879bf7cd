//! How one logs in to a service.

use serde::{Deserialize, Serialize};

/// The credentials and the database of a service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The user name; empty for none.
    pub user: String,
    /// The password.
    pub password: String,
    /// The database; empty for none.
    pub database: String,
}
