//! One error type for a service: coded, documented, and safe to show.
