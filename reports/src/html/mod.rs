//! The page for people: one file that needs no network and no script.

mod comparison;
mod environment;
mod palette;
mod run;
mod scenario;
mod trend;
mod violation;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::operations::OutcomeKind;

/// A little comfort: themes, copying a command, unfolding for paper. The page says everything without it.
const SCRIPT: &str = include_str!("script.js");
/// The script that the page may run, and no other; a test in a browser fails when it is not this one.
const SCRIPT_HASH: &str = "sha256-CCZXws3JHNhPpNhjuN7zMDih8oMdYhtF5318hMkmGTY=";

/// Bytes that a page may have beside its frame. What does not fit is left out, and the page says so.
const BUDGET: usize = 1_500_000;
/// What is kept back for the words around a large part.
const RESERVE: usize = 60_000;

/// How much of a page may still be filled.
struct Budget {
    left: usize,
    spent: bool,
}

impl Budget {
    fn new() -> Self {
        Budget { left: BUDGET, spent: false }
    }

    /// This part if there is room for it, else a word that it is left out.
    fn take(&mut self, part: impl FnOnce() -> Markup) -> Markup {
        // Once something did not fit, nothing does: else small parts of what matters less would stand where large ones of what matters more
        // are missing, and each would be drawn for nothing.
        if !self.spent {
            let part = part();
            if self.left >= part.0.len() + RESERVE {
                self.left -= part.0.len();
                return part;
            }
            self.spent = true;
        }
        html! { p.note { "Left out, as this page is large enough: the log of the run has it." } }
    }

    /// A part that takes its own large parts from the budget, if there is room for its words.
    fn around(&mut self, part: impl FnOnce(&mut Budget) -> Markup) -> Markup {
        let before = self.left;
        let part = part(self);
        match before.checked_sub(part.0.len()) {
            Some(left) => {
                self.left = left;
                part
            }
            None => {
                (self.left, self.spent) = (0, true);
                html! {}
            }
        }
    }
}

/// A whole page.
fn page(title: &str, head: &Markup, body: &Markup) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(palette::style())) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                header.frame {
                    div.bar {
                        span.brand { b { "Seaworthy" } " report" }
                        button type="button" data-theme-button hidden { "Theme" }
                    }
                    div.hero { (head) }
                }
                main.frame #main { (body) }
                footer.frame {
                    p { "Made from the run's event log alone. The same log gives the same page." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A verdict, as a word on a ground of its colour.
fn badge(word: &str) -> Markup {
    html! { span class={ "verdict " (word) } { (word) } }
}

/// A picture that says in a sentence what it shows, and that narrow screens can scroll.
fn plot(says: &str, svg: &str) -> Markup {
    html! {
        div.plot role="region" tabindex="0" aria-label={ "Picture, can be scrolled: " (says) } {
            div role="img" aria-label=(says) { (PreEscaped(svg)) }
        }
    }
}

/// A table that narrow screens can scroll.
fn scrolled(says: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-label=(says) { (table) } }
}

/// The command that plays something again.
fn replay(command: &str) -> Markup {
    html! {
        @if !command.is_empty() {
            div.replay {
                span { "Play it again" }
                code { (command) }
                button type="button" data-copy hidden { "Copy" }
            }
        }
    }
}

/// What the colours of outcomes mean, and the shade of faults.
fn outcome_keys(outcomes: &[OutcomeKind], faults: bool) -> Markup {
    html! {
        ul.keys {
            @for outcome in outcomes {
                @let class = match outcome {
                    OutcomeKind::Ok => "key-ok",
                    OutcomeKind::Failed => "key-failed",
                    OutcomeKind::Unknown => "key-unknown",
                    OutcomeKind::TimedOut => "key-timed-out",
                };
                li class=(class) { (outcome.as_str()) }
            }
            @if faults { li.key-fault { "a fault is on" } }
        }
    }
}
