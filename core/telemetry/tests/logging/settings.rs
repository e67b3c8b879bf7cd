//! Settings from the environment.

use seaworthy_telemetry::settings::Settings;

#[test]
fn settings_say_all_that_is_wrong_and_what_is_right() {
    let wrong = |name: &str| {
        let value = match name {
            "SEAWORTHY_SERVICE" => "my shop",
            "SEAWORTHY_LOG" => "jsonn",
            "SEAWORTHY_LOG_LEVEL" => "inof",
            "SEAWORTHY_LOG_ALLOW" => "city,password",
            "SEAWORTHY_LOG_SAMPLE" => "info=10%",
            "SEAWORTHY_LOG_QUEUE" => "0",
            "SEAWORTHY_LOG_MAX_SIZE" => "10 apples",
            "SEAWORTHY_LOG_ROTATE" => "daily",
            "SEAWORTHY_LOG_COMPRESS" => "maybe",
            "SEAWORTHY_LOG_SYSLOG" => "localhost",
            "SEAWORTHY_LOG_OTLP_ENDPOINT" => "collector:4318",
            "SEAWORTHY_LOG_OTLP_HEADERS" => "hunter2",
            _ => return None,
        };
        Some(value.to_owned())
    };
    insta::assert_snapshot!(Settings::from_lookup(wrong).unwrap_err(), @r"
    SEAWORTHY_LOG is `jsonn`; choose one of pretty, json, files, journald, syslog, otlp
    SEAWORTHY_LOG_SAMPLE is `info=10%`; give rates from 0 to 1 like info=0.1,shop::cart=0.5,shop::cart:debug=0.01
    SEAWORTHY_LOG_MAX_SIZE is `10 apples`; give a size like 10MiB
    SEAWORTHY_LOG_ROTATE is `daily`; give a duration like 1h or 1day
    SEAWORTHY_LOG_COMPRESS is `maybe`; choose one of true, false
    SEAWORTHY_LOG_SYSLOG is `localhost`; give a path like /dev/log, or udp://host:514
    SEAWORTHY_LOG_OTLP_HEADERS is not well-formed; give headers like name=value,name=value
    SEAWORTHY_SERVICE is `my shop`; use 1 to 48 letters, digits, `.`, `_` and `-`
    SEAWORTHY_LOG_LEVEL is `inof`; give a level and levels of targets, like info,shop=debug; levels are off, error, warn, info, debug, trace
    SEAWORTHY_LOG_ALLOW is `password`; a field of that name is taken for a secret: give it another name
    SEAWORTHY_LOG_QUEUE is `0`; give a number of lines, from 1 to 1000000
    SEAWORTHY_LOG_OTLP_ENDPOINT is `collector:4318`; give a URL like http://127.0.0.1:4318
    ");
    let right = |name: &str| {
        let value = match name {
            "SEAWORTHY_LOG" => "files",
            "SEAWORTHY_LOG_MAX_SIZE" => "10MiB",
            "SEAWORTHY_LOG_ROTATE" => "1h",
            "SEAWORTHY_LOG_SYSLOG" => "udp://localhost:514",
            "SEAWORTHY_LOG_OTLP_HEADERS" => "authorization=Bearer hunter2, x-tenant=a",
            "SEAWORTHY_LOG_LEVEL" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let settings = format!("{:?}", Settings::from_lookup(right).unwrap());
    for part in ["Files", "max_size: 10485760", "rotate: 3600s", "\"authorization\"", "\"localhost:514\""] {
        assert!(settings.contains(part), "{part} in {settings}");
    }
    assert!(!settings.contains("hunter2"), "{settings}");
}
