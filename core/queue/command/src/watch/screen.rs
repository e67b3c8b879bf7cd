//! A terminal that is taken over, and given back however the program ends.

use std::{
    io::{self, IsTerminal, Read as _, Write as _},
    panic,
    sync::{Mutex, Once, PoisonError},
    thread,
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc;

/// The alternate screen, without a cursor, and without lines that wrap: xterm's private modes, which terminals have in common.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// How the terminal was, while it is taken over.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal of which the whole screen is ours. Dropping it gives it back, and so does a panic before its message is printed.
#[derive(Debug)]
pub(crate) struct Screen {
    _private: (),
}

impl Screen {
    /// Takes the terminal of standard output over.
    ///
    /// # Errors
    ///
    /// When it is none, or can't be written.
    pub(crate) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        let stdout = io::stdout();
        let before = tcgetattr(&stdout)?;
        let mut ours = before.clone();
        // What is typed is not shown, and comes at once. Ctrl-C and Ctrl-\ stay signals; Ctrl-Z would leave the shell on our screen.
        ours.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        ours.special_codes[SpecialCodeIndex::VSUSP] = 0;
        *lock() = Some(before);
        HOOK.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                give_back();
                hook(panic);
            }));
        });
        let screen = Screen { _private: () };
        tcsetattr(&stdout, OptionalActions::Now, &ours)?;
        write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(crate) fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }

    /// Draws these lines over what is there: nothing is cleared first, so that nothing flickers.
    pub(crate) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once for each time that it was taken over, whoever comes first.
fn give_back() {
    let Some(before) = lock().take() else { return };
    // There is nobody to tell if the terminal is gone.
    let _ = write(LEAVE);
    let _ = tcsetattr(io::stdout(), OptionalActions::Now, &before);
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Hears when somebody types `q`, if there is a keyboard. The thread ends with the process: reading can't be interrupted.
pub(crate) fn listen_for_q() -> Option<mpsc::Receiver<()>> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let (tell, keys) = mpsc::channel(1);
    let read = move || {
        let mut key = [0];
        while io::stdin().read_exact(&mut key).is_ok() {
            if matches!(key[0], b'q' | b'Q') && tell.blocking_send(()).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read).ok()?;
    Some(keys)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{env, process::Command, process::Stdio};

    use super::*;

    #[test]
    #[ignore = "it panics on a terminal that the test below gives it"]
    fn panics_on_a_terminal() {
        let Ok(screen) = Screen::enter() else { return };
        screen.draw(&["a picture".to_owned()]).unwrap();
        panic!("all hands on deck");
    }

    #[test]
    fn a_panic_is_read_on_the_terminal_as_it_was_before() {
        let program = env::current_exe().unwrap();
        let test = "watch::screen::tests::panics_on_a_terminal";
        let command = format!("'{}' --exact {test} --ignored --nocapture; stty -a", program.display());
        let mut script = Command::new("script");
        let output = script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
        let seen = String::from_utf8_lossy(&output.stdout);
        let find = |text: &str| seen.find(text).unwrap_or_else(|| panic!("no {text:?} in {seen:?}"));
        assert!(find(ENTER) < find("a picture") && find("a picture") < find(LEAVE));
        assert!(find(LEAVE) < find("all hands on deck"), "{seen:?}");
        assert_eq!(seen.matches(LEAVE).count(), 1, "{seen:?}");
        assert!(
            seen[find(LEAVE)..].contains(" echo ") && seen[find(LEAVE)..].contains(" icanon "),
            "{seen:?}"
        );
    }
}
