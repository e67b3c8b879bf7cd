//! The codes of work that did not come to its end.

crate::codes! {
    /// The codes of this module.
    pub static CODES;

    /// The code met a condition that its author held for impossible, and panicked. Its message is in the log and in the report, never
    /// in an answer.
    pub PANICKED = "TASK-0001", Internal, "Something went wrong on our side" {
        example: "An index beyond the end of a list.",
        remedy: "Look up the report of this error: the message and the place say which condition it was. It is a defect.",
    }

    /// The work took longer than its deadline allows, and was stopped. Parts of it may have happened.
    pub TIMED_OUT = "TASK-0002", DeadlineExceeded, "It took too long" {
        example: "A query waits for a lock that another transaction holds for minutes.",
        remedy: "Look what the work waited for in that time; repeat it if it is safe to repeat.",
        retry: Retry::Backoff,
    }
}
