//! What a team relies on when its tests fill a database with factories.

mod bulk;
mod definitions;
mod linting;
mod outputs;
mod refusals;
mod relations;
mod shop;
mod strategies;
