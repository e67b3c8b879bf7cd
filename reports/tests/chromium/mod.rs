//! A real browser, driven over a pipe by its DevTools protocol.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take to answer.
const LIMIT: Duration = Duration::from_secs(60);

/// Chromium, until it is dropped.
pub(crate) struct Chromium {
    child: Child,
    to: File,
    messages: Receiver<Value>,
    session: String,
    sent: u64,
    /// What pages complained about: errors of scripts, of the policy, of anything.
    pub(crate) complaints: Vec<String>,
    _folder: TempDir,
}

/// Where the browser is, if it is here.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file())
}

impl Chromium {
    pub(crate) fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").args([path("in"), path("out")]).status().unwrap();
        assert!(made.success());
        let mut command = Command::new("sh");
        // Its pipe is on the descriptors 3 and 4.
        command.args(["-c", r#"exec "$0" "$@" 3<"$IN" 4>"$OUT""#]).arg(program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--user-data-dir={}", path("profile").display()));
        command.args(["--remote-debugging-pipe", "about:blank"]);
        command.env("IN", path("in")).env("OUT", path("out"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // For reading and writing, so that neither side waits for the other to open.
        let open = |name: &str| OpenOptions::new().read(true).write(true).open(path(name)).unwrap();
        let (to, from) = (open("in"), open("out"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (session, complaints) = (String::new(), Vec::new());
        let mut chromium = Chromium { child, to, messages, session, sent: 0, complaints, _folder: folder };
        chromium.attach();
        chromium
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({}));
        let page = targets["targetInfos"].as_array().unwrap().iter().find(|target| target["type"] == "page");
        let id = page.expect("a page is open")["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": id, "flatten": true }));
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
        let offline =
            json!({ "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.call("Network.emulateNetworkConditions", offline);
    }

    /// Calls a method of the protocol, and waits for what it returns.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        let id = self.sent;
        let answer = self.wait(method, |message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Waits for a message like this; what pages complain about in between is kept.
    fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let give_up = Instant::now() + LIMIT;
        loop {
            let message = match self.messages.recv_timeout(give_up.saturating_duration_since(Instant::now()))
            {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("no answer to {what} within {LIMIT:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the browser ended before it answered {what}"),
            };
            match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(message["params"].to_string()),
                Some("Log.entryAdded") => self.complaints.push(message["params"]["entry"].to_string()),
                Some("Runtime.consoleAPICalled") => self.complaints.push(message["params"].to_string()),
                Some("Network.requestWillBeSent") => {
                    let url = message["params"]["request"]["url"].as_str().unwrap_or_default();
                    if !url.starts_with("file://") {
                        self.complaints.push(format!("the page asks for {url}"));
                    }
                }
                _ => {}
            }
            if is_it(&message) {
                return message;
            }
        }
    }

    /// Opens a file in a window of this width.
    pub(crate) fn open(&mut self, file: &Path, width: u32) {
        let window = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", window);
        self.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        self.wait("the page's load", |message| message["method"] == "Page.loadEventFired");
    }

    /// The value of an expression of JavaScript on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
