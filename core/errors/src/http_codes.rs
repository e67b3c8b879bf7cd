//! The codes of HTTP itself: what an answer says when nobody has said anything more exact. The number is the status.

use crate::Code;

crate::codes! {
    /// The codes of this module.
    pub static CODES;

    /// The request can't be understood: its address, its headers or its body are not what the service expects.
    pub BAD_REQUEST = "HTTP-0400", InvalidArgument, "The request is not valid" {
        example: "A path has a word where the service expects a number.",
        remedy: "Compare the request with the documentation of the address; the detail says which part is wrong.",
    }
    /// The request does not say who sends it, or not in a way that could be verified.
    pub UNAUTHORIZED = "HTTP-0401", Unauthenticated, "The request needs valid credentials" {
        example: "The token has expired.",
        remedy: "Log in again, and send the new credentials.",
    }
    /// The sender is known, and may not do this.
    pub FORBIDDEN = "HTTP-0403", PermissionDenied, "This is not allowed" {
        example: "A customer asks for the order of another.",
        remedy: "Ask whoever runs the service for the permission.",
    }
    /// There is nothing at this address.
    pub NOT_FOUND = "HTTP-0404", NotFound, "There is nothing here" {
        example: "The address is misspelt, or what it named was deleted.",
        remedy: "Check the address.",
    }
    /// The address exists, and does not know this method; the `Allow` header names those that it knows.
    pub METHOD_NOT_ALLOWED = "HTTP-0405", Unimplemented, "The method is not allowed here" {
        example: "DELETE on an address that can only be read.",
        remedy: "Use a method that the Allow header names.",
        status: 405,
    }
    /// The service can't answer in a form that the request accepts.
    pub NOT_ACCEPTABLE = "HTTP-0406", InvalidArgument, "The accepted forms are not available" {
        example: "A request accepts only image/png from an address that gives JSON.",
        remedy: "Accept one of the documented forms.",
        status: 406,
    }
    /// The request did not arrive in full in the time that it had.
    pub REQUEST_TIMEOUT = "HTTP-0408", DeadlineExceeded, "The request took too long to arrive" {
        example: "A client on a bad line sends its body a byte at a time.",
        remedy: "Send the request again.",
        status: 408,
    }
    /// It contradicts what is there, or met another change at the same time.
    pub CONFLICT = "HTTP-0409", Aborted, "It conflicts with the present state" {
        example: "Two clients change the same record.",
        remedy: "Read the present state, and decide anew.",
    }
    /// What was here is gone for good.
    pub GONE = "HTTP-0410", NotFound, "It is gone" {
        example: "An export is deleted after a week.",
        remedy: "Remove the address from wherever it came from.",
        status: 410,
    }
    /// The request must say how long its body is.
    pub LENGTH_REQUIRED = "HTTP-0411", InvalidArgument, "The length of the body is missing" {
        example: "An upload without a Content-Length header.",
        remedy: "Send the header.",
        status: 411,
    }
    /// A condition that the request's headers make does not hold.
    pub PRECONDITION_FAILED = "HTTP-0412", FailedPrecondition, "A condition of the request does not hold" {
        example: "If-Match names a version that is no longer the newest.",
        remedy: "Read the present version, and decide anew.",
        status: 412,
    }
    /// The body is larger than this address takes.
    pub PAYLOAD_TOO_LARGE = "HTTP-0413", InvalidArgument, "The body is too large" {
        example: "An upload of 20 MiB where 2 MiB are allowed.",
        remedy: "Send less, or in parts.",
        status: 413,
    }
    /// The address is longer than the service reads.
    pub URI_TOO_LONG = "HTTP-0414", InvalidArgument, "The address is too long" {
        example: "A search whose whole filter is in the query.",
        remedy: "Put the parameters into a body.",
        status: 414,
    }
    /// The body's content type is missing, or is one that this address does not read.
    pub UNSUPPORTED_MEDIA_TYPE = "HTTP-0415", InvalidArgument, "The content type is not supported here" {
        example: "JSON is sent without `content-type: application/json`.",
        remedy: "Set the content type that the documentation names.",
        status: 415,
    }
    /// The part of the content that was asked for does not exist.
    pub RANGE_NOT_SATISFIABLE = "HTTP-0416", OutOfRange, "There is no such range" {
        example: "A download is resumed beyond the end of a file that became shorter.",
        remedy: "Ask for the whole.",
        status: 416,
    }
    /// The body can be read, and what it says is not valid: a field is missing, or has the wrong type.
    pub UNPROCESSABLE = "HTTP-0422", InvalidArgument, "The content of the request is not valid" {
        example: "A quantity is a text.",
        remedy: "Correct the part that the detail names.",
        status: 422,
    }
    /// This address needs a WebSocket or another protocol that the connection was not upgraded to.
    pub UPGRADE_REQUIRED = "HTTP-0426", FailedPrecondition, "Another protocol is needed here" {
        example: "A browser opens the address of a WebSocket.",
        remedy: "Connect with a client of that protocol.",
        status: 426,
    }
    /// The request must carry a condition, so that it overwrites nothing unseen.
    pub PRECONDITION_REQUIRED = "HTTP-0428", FailedPrecondition, "A condition is missing" {
        example: "PUT without If-Match.",
        remedy: "Read the present version, and name it in If-Match.",
        status: 428,
    }
    /// The sender sent more than it may in a time.
    pub TOO_MANY_REQUESTS = "HTTP-0429", ResourceExhausted, "Too many requests" {
        example: "A loop without a pause.",
        remedy: "Wait as long as the Retry-After header says; then send fewer.",
    }
    /// The headers are larger than the service reads.
    pub HEADERS_TOO_LARGE = "HTTP-0431", InvalidArgument, "The headers are too large" {
        example: "Cookies have piled up.",
        remedy: "Send fewer and smaller headers.",
        status: 431,
    }
    /// The client closed the connection before it had its answer.
    pub CLIENT_CLOSED_REQUEST = "HTTP-0499", Cancelled, "The client did not wait" {
        example: "A user leaves the page.",
        remedy: "Nothing, unless it is frequent: then look at latencies and at the clients' deadlines.",
    }
    /// Something is broken in the service.
    pub INTERNAL = "HTTP-0500", Internal, "Something went wrong on our side" {
        example: "A condition that was held for impossible.",
        remedy: "Look up the report of this request: it has the cause.",
    }
    /// The service does not do this.
    pub NOT_IMPLEMENTED = "HTTP-0501", Unimplemented, "This is not supported" {
        example: "A feature that this installation was built without.",
        remedy: "Look for another way in the documentation.",
    }
    /// A service behind this one gave an answer that makes no sense.
    pub BAD_GATEWAY = "HTTP-0502", Unavailable, "A service that we depend on failed" {
        example: "An upstream answers with HTML where JSON was agreed on.",
        remedy: "Look at the health of the upstream.",
        status: 502,
    }
    /// The service can't answer now; it will again.
    pub UNAVAILABLE = "HTTP-0503", Unavailable, "The service is not available right now" {
        example: "The database is being restarted.",
        remedy: "Repeat the request later; look at the service's health.",
    }
    /// The answer did not come in the time that the service allows itself. What was asked for may have happened.
    pub TIMEOUT = "HTTP-0504", DeadlineExceeded, "The answer took too long" {
        example: "A query waits for a lock.",
        remedy: "Repeat the request if that is safe; look what it waited for.",
        retry: Retry::Backoff,
    }
}

/// The code for an answer with this status: the one of the same number, else the most general one of its class.
pub fn of_status(status: u16) -> &'static Code {
    let exact = CODES.iter().find(|code| code.http_status() == status);
    exact.copied().unwrap_or(if status < 500 { &BAD_REQUEST } else { &INTERNAL })
}

#[cfg(test)]
mod tests {
    use super::{CODES, of_status};

    #[test]
    fn the_number_of_a_code_is_its_status() {
        for code in CODES {
            assert_eq!(code.id, format!("HTTP-{:04}", code.http_status()));
            assert_eq!(of_status(code.http_status()), *code);
        }
        assert_eq!(of_status(418).id, "HTTP-0400");
        assert_eq!(of_status(507).id, "HTTP-0500");
    }
}
