//! The codes of the shop's errors.

use seaworthy_errors::{HTTP_CODES, Registry, TASK_CODES, codes};

/// Every code that the shop can answer with, log or report.
pub static REGISTRY: Registry = Registry::new(&[
    HTTP_CODES,
    TASK_CODES,
    seaworthy_telemetry::codes::CODES,
    seaworthy_queue::CODES,
    CODES,
]);

codes! {
    /// The codes of the shop.
    pub static CODES;

    /// The order can't be fulfilled as it is; the detail says why.
    pub INVALID_ORDER = "SHOP-0001", InvalidArgument, "The order is not valid" {
        example: "A quantity of zero.",
        remedy: "Correct what the detail names.",
        status: 422,
    }

    /// The order was not written. Nothing will come of it.
    pub NOT_PLACED = "SHOP-0002", Unavailable, "The order was not placed" {
        example: "Postgres can't be reached.",
        remedy: "Repeat the request later.",
    }

    /// The commit was sent and its answer got lost, or the request took too long: the order may be there.
    pub OUTCOME_UNKNOWN = "SHOP-0003", DeadlineExceeded, "The order may or may not be placed" {
        example: "The connection to Postgres breaks just after the commit was sent.",
        remedy: "Repeat the request with the same id: an order that is there already is left as it is.",
    }

    /// There is no order with this id.
    pub NO_SUCH_ORDER = "SHOP-0004", NotFound, "There is no such order" {
        example: "The id has a typing error.",
        remedy: "Check the id.",
    }

    /// The orders can't be read now.
    pub UNREADABLE = "SHOP-0005", Unavailable, "The orders can't be read right now" {
        example: "Postgres is being restarted.",
        remedy: "Repeat the request later.",
    }

    /// The shop can't open: a service that it needs refuses it, or an address is taken.
    pub NOT_OPENED = "SHOP-0006", FailedPrecondition, "The shop can't open" {
        example: "Another process listens on its port.",
        remedy: "The source of the error says what was refused.",
    }
}
