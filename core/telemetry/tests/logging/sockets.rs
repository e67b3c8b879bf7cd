//! The journal and syslog, each played by a socket.

use std::{net::UdpSocket, os::unix::net::UnixDatagram, time::Duration};

use seaworthy_telemetry::{
    logging::Logging,
    settings::{Settings, Strategy, SyslogAddress},
    trace::{Context, Work},
};
use tracing::{dispatcher, error, info, info_span};

use crate::collect::Folder;

const SOON: Duration = Duration::from_secs(10);

fn datagram(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = vec![0; 1 << 17];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn the_journal_gets_fields_that_can_be_asked_for() {
    let folder = Folder::new();
    let socket = UnixDatagram::bind(folder.0.join("journal")).unwrap();
    let settings = Settings::new("shop").strategy(Strategy::Journald).journald(folder.0.join("journal"));
    let (_logging, dispatch) = Logging::build(&settings).unwrap();
    let _default = dispatcher::set_default(&dispatch);
    let context = Context::from_caller(None, Some("order-42"));
    let run = async {
        info_span!("checkout", route = "/orders")
            .in_scope(|| error!(http.status_code = 502, "bad\nPRIORITY=7"));
    };
    Work::new("test", context.clone()).run(run).await;
    let text = datagram(&socket);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("CODE_LINE")).collect();
    let (trace, span) =
        (format!("TRACE_ID={}", context.trace_id()), format!("SPAN_ID={}", context.span_id()));
    assert_eq!(
        lines,
        [
            "MESSAGE=bad\\nPRIORITY=7",
            "PRIORITY=3",
            "SYSLOG_IDENTIFIER=shop",
            "TARGET=logging::sockets",
            "REQUEST_ID=order-42",
            &trace,
            &span,
            "CODE_FILE=core/telemetry/tests/logging/sockets.rs",
            "F_HTTP_STATUS_CODE=502",
            "SPAN_NAME=checkout",
            "F_ROUTE=/orders",
        ]
    );
}

#[test]
fn the_journal_may_come_and_go_and_large_lines_arrive() {
    let folder = Folder::new();
    let path = folder.0.join("journal");
    let settings = Settings::new("shop")
        .strategy(Strategy::Journald)
        .journald(&path)
        .allow(["a", "b", "c", "d", "e", "f"]);
    let (logging, dispatch) = Logging::build(&settings).unwrap();
    let handle = logging.handle();
    dispatcher::with_default(&dispatch, || {
        info!("nobody is there");
        assert!(handle.flush(SOON));
        assert_eq!(handle.counters().failed, 1);
        for _ in 0..2 {
            let socket = UnixDatagram::bind(&path).unwrap();
            let long = "x".repeat(8000);
            info!(a = long, b = long, c = long, d = long, e = long, f = long, "somebody is");
            assert!(datagram(&socket).len() > 48_000);
            assert_eq!(handle.counters().failed, 1);
            drop(socket);
            std::fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn syslog_messages_are_as_the_standard_says_and_within_their_bound() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let settings = Settings::new("shop").strategy(Strategy::Syslog).syslog(SyslogAddress::Unix(path));
    let (_logging, dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&dispatch, || {
        error!(reason = "a \"quote\", a ] and a \\", attempt = 2, "bad\nnews");
        let text = datagram(&socket);
        let (head, rest) = text.split_once(" - [").unwrap();
        let head: Vec<&str> = head.split(' ').collect();
        assert_eq!((head[0], head[3], head[4]), ("<27>1", "shop", std::process::id().to_string().as_str()));
        assert!(head[1].ends_with('Z') && head.len() == 5, "{head:?}");
        assert_eq!(
            rest,
            "fields@32473 target=\"logging::sockets\" reason=\"a \\\"quote\\\", a \\] and a \\\\\" attempt=\"2\"] \u{feff}bad\\nnews"
        );
        info!(reason = "x".repeat(8000), "{}", "y".repeat(8000));
        let text = datagram(&socket);
        assert!(text.len() <= 8 << 10, "{}", text.len());
        assert!(text.contains("fields_left_out=\"1\"] \u{feff}yyy"), "{text}");
    });
}

#[test]
fn syslog_goes_over_udp_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap()).parse().unwrap();
    let settings = Settings::new("shop").strategy(Strategy::Syslog).syslog(address);
    let (_logging, dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&dispatch, || info!("over the net"));
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..length]).ends_with("over the net"));
}
