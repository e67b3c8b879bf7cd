//! What every back end promises, on every back end.

mod conformance;
mod crashes;
mod hand;
mod machine;
mod model;
mod only_on_postgres;
mod world;
