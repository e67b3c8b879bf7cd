//! The canonical kinds of errors.

use std::fmt;

/// What kind of thing went wrong: the canonical codes of gRPC, with the HTTP status that `google/rpc/code.proto` gives to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Nothing went wrong. No error has this kind; it is here so that every number has a name.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Nobody knows, often since the error comes from elsewhere.
    Unknown = 2,
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// It took too long. It may have happened all the same.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there already.
    AlreadyExists = 6,
    /// The caller is known, and may not do this.
    PermissionDenied = 7,
    /// A limit or a quota is used up.
    ResourceExhausted = 8,
    /// The system is not in the state that this needs; repeating it does not help until that changes.
    FailedPrecondition = 9,
    /// It met something that happened at the same time; the whole of it may be repeated.
    Aborted = 10,
    /// It goes beyond the end of something.
    OutOfRange = 11,
    /// It is not supported here.
    Unimplemented = 12,
    /// An invariant is broken: a defect.
    Internal = 13,
    /// The service can't do it now; repeat it later.
    Unavailable = 14,
    /// Data is lost or damaged for good.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Kind {
    /// All seventeen, by their numbers.
    pub const ALL: [Kind; 17] = [
        Kind::Ok,
        Kind::Cancelled,
        Kind::Unknown,
        Kind::InvalidArgument,
        Kind::DeadlineExceeded,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::PermissionDenied,
        Kind::ResourceExhausted,
        Kind::FailedPrecondition,
        Kind::Aborted,
        Kind::OutOfRange,
        Kind::Unimplemented,
        Kind::Internal,
        Kind::Unavailable,
        Kind::DataLoss,
        Kind::Unauthenticated,
    ];

    /// Its number in gRPC.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind of this number in gRPC; a number that has none is unknown.
    pub fn from_number(number: u8) -> Kind {
        Kind::ALL.get(usize::from(number)).copied().unwrap_or(Kind::Unknown)
    }

    /// The HTTP status that stands for it.
    pub const fn http_status(self) -> u16 {
        match self {
            Kind::Ok => 200,
            Kind::InvalidArgument | Kind::FailedPrecondition | Kind::OutOfRange => 400,
            Kind::Unauthenticated => 401,
            Kind::PermissionDenied => 403,
            Kind::NotFound => 404,
            Kind::AlreadyExists | Kind::Aborted => 409,
            Kind::ResourceExhausted => 429,
            Kind::Cancelled => 499,
            Kind::Unknown | Kind::Internal | Kind::DataLoss => 500,
            Kind::Unimplemented => 501,
            Kind::Unavailable => 503,
            Kind::DeadlineExceeded => 504,
        }
    }

    /// Its name in gRPC, for example `INVALID_ARGUMENT`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Ok => "OK",
            Kind::Cancelled => "CANCELLED",
            Kind::Unknown => "UNKNOWN",
            Kind::InvalidArgument => "INVALID_ARGUMENT",
            Kind::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Kind::NotFound => "NOT_FOUND",
            Kind::AlreadyExists => "ALREADY_EXISTS",
            Kind::PermissionDenied => "PERMISSION_DENIED",
            Kind::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Kind::FailedPrecondition => "FAILED_PRECONDITION",
            Kind::Aborted => "ABORTED",
            Kind::OutOfRange => "OUT_OF_RANGE",
            Kind::Unimplemented => "UNIMPLEMENTED",
            Kind::Internal => "INTERNAL",
            Kind::Unavailable => "UNAVAILABLE",
            Kind::DataLoss => "DATA_LOSS",
            Kind::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
