//! The codes of telemetry's errors.

use seaworthy_errors::{Code, Error, codes};

use crate::{logging, queries, settings, timeline};

codes! {
    /// The codes of telemetry.
    pub static CODES;

    /// A setting can't be understood. The error names every wrong setting, its value, and what is allowed; the service does not start.
    pub SETTINGS = "TELEMETRY-0001", InvalidArgument, "A setting is wrong" {
        example: "SEAWORTHY_LOG is `jsonn`.",
        remedy: "Correct the settings that the error names.",
    }

    /// The log, or another thing of which a process has one, was started a second time.
    pub STARTED_TWICE = "TELEMETRY-0002", AlreadyExists, "It was started already" {
        example: "A library sets a tracing subscriber before the service starts its log.",
        remedy: "Start it once, first thing in `main`.",
    }

    /// A thread or a file that telemetry needs can't be had.
    pub SYSTEM = "TELEMETRY-0003", Unavailable, "The system refused what telemetry needs" {
        example: "The folder of the query log's file does not exist.",
        remedy: "The source of the error says what was refused.",
        retry: Retry::Never,
    }

    /// The address can't be listened on.
    pub LISTEN = "TELEMETRY-0004", Unavailable, "The service can't listen" {
        example: "Another process listens on the port.",
        remedy: "Stop the other process, or choose another address.",
        retry: Retry::Never,
    }

    /// The service manager handed over something else than one listening TCP socket.
    pub HANDED_OVER = "TELEMETRY-0005", FailedPrecondition, "The socket that was handed over can't be used" {
        example: "A socket unit of systemd has Accept=yes.",
        remedy: "Give the service exactly one TCP socket that listens.",
    }

    /// The supervisor could not be set up, or its first process did not become ready.
    pub SUPERVISOR = "TELEMETRY-0006", FailedPrecondition, "The supervised service did not become ready" {
        example: "The service refuses its settings.",
        remedy: "Look at the log of the process that was started.",
    }

    /// A profile was asked for that can't be taken so.
    pub PROFILE_REQUEST = "TELEMETRY-0007", InvalidArgument, "The profile can't be taken like this" {
        example: "A profile of an hour.",
        remedy: "Ask for 1 to 60 seconds, and 1 to 1000 samples a second.",
    }

    /// Another profile is being taken; a process takes one at a time.
    pub PROFILE_BUSY = "TELEMETRY-0008", Aborted, "Another profile is being taken" {
        example: "Two people look at the same service.",
        remedy: "Ask again when the other one is done.",
        retry: Retry::After(Duration::from_secs(60)),
    }

    /// The service was built without what this profile needs.
    pub PROFILE_UNSUPPORTED = "TELEMETRY-0009", Unimplemented, "The service can't take this profile" {
        example: "Allocations are asked for, and the counting allocator is not installed.",
        remedy: "Declare the counting allocator in the service's main.rs.",
    }

    /// A profile was taken, and failed or could not be written.
    pub PROFILE_FAILED = "TELEMETRY-0010", Internal, "The profile failed" {
        example: "The system does not let the process have a timer.",
        remedy: "The source of the error says what failed.",
    }
}

/// Which code an error of telemetry has, and its way into the one error type.
macro_rules! coded {
    ($($(#[$attribute:meta])* $error:ty { $($pattern:pat => $code:ident,)+ })+) => {$(
        $(#[$attribute])*
        impl $error {
            /// The code, which stays the same over releases.
            pub fn code(&self) -> &'static Code {
                match self {
                    $($pattern => &$code,)+
                }
            }
        }

        $(#[$attribute])*
        impl From<$error> for Error {
            #[track_caller]
            fn from(error: $error) -> Self {
                Error::new(error.code()).caused_by(error)
            }
        }
    )+};
}

coded! {
    settings::SettingsError {
        _ => SETTINGS,
    }
    logging::Error {
        logging::Error::Settings(_) | logging::Error::Level { .. } => SETTINGS,
        logging::Error::AlreadyStarted | logging::Error::NotStarted => STARTED_TWICE,
        logging::Error::Thread(_) => SYSTEM,
    }
    queries::QueryLogError {
        queries::QueryLogError::Number { .. } | queries::QueryLogError::Choice { .. } => SETTINGS,
        queries::QueryLogError::File { .. } | queries::QueryLogError::Thread { .. } => SYSTEM,
    }
    timeline::TimelineError {
        timeline::TimelineError::Installed => STARTED_TWICE,
    }
    #[cfg(feature = "http")]
    crate::profiles::ProtectionError {
        _ => SETTINGS,
    }
    #[cfg(all(feature = "http", unix))]
    crate::lifecycle::Error {
        crate::lifecycle::Error::AddressInUse { .. } | crate::lifecycle::Error::Listen { .. } => LISTEN,
        crate::lifecycle::Error::HandedOver { .. } => HANDED_OVER,
        crate::lifecycle::Error::Supervise { .. } | crate::lifecycle::Error::NotReady { .. } => SUPERVISOR,
    }
    #[cfg(feature = "profiles")]
    crate::profiles::ProfileError {
        crate::profiles::ProfileError::Time(_) | crate::profiles::ProfileError::Frequency(_) => PROFILE_REQUEST,
        crate::profiles::ProfileError::Busy => PROFILE_BUSY,
        crate::profiles::ProfileError::NotInstalled => PROFILE_UNSUPPORTED,
        crate::profiles::ProfileError::Profiler(_) | crate::profiles::ProfileError::Rendering(_) => PROFILE_FAILED,
    }
}
