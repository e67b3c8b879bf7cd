//! The pages as a real browser shows them. Skipped without Chromium, unless `SEAWORTHY_REQUIRE_BROWSER=1` asks for it.

mod chromium;
mod sample;

use std::{fs, path::PathBuf};

use chromium::Chromium;
use sample::sample_run;
use seaworthy_reports::{Comparison, Run, Trend, Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Every text whose contrast with what lies behind it is less than WCAG 2.2 asks for: 4.5, or 3 where it is large.
const CONTRAST: &str = r#"(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return parse("white");
  };
  const low = []; let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const colour = parse(drawn ? style.fill : style.color);
    const [a, b] = [luminance(colour), luminance(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen += 1;
    if (ratio < (large ? 3 : 4.5)) low.push(`${walker.currentNode.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { seen, low: [...new Set(low)] };
})()"#;

/// What someone without a mouse or without sight would miss.
const ACCESS: &str = r#"(() => {
  const wrong = [];
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
  for (const a of document.querySelectorAll("a[href^='#']"))
    if (!document.getElementById(a.getAttribute("href").slice(1))) wrong.push(`${a.href} leads nowhere`);
  for (const e of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) wrong.push("a label is missing");
  for (const svg of document.querySelectorAll("svg"))
    if (!svg.closest("[role=img][aria-label]")) wrong.push("a picture says nothing");
  for (const e of document.querySelectorAll(".scroll, .plot, .log"))
    if (e.tabIndex !== 0 || !e.getAttribute("aria-label")) wrong.push(`${e.className} can't be scrolled by keys`);
  for (const th of document.querySelectorAll("th")) if (!th.scope) wrong.push(`${th.textContent} has no scope`);
  let level = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    const now = Number(h.tagName[1]);
    if (now > level + 1) wrong.push(`${h.textContent} is a heading of level ${now} after ${level}`);
    level = now;
  }
  if (document.querySelectorAll("h1").length !== 1 || !document.querySelector("main") || !document.documentElement.lang)
    wrong.push("the page has no single headline, main part or language");
  return wrong;
})()"#;

fn pages() -> (TempDir, Vec<PathBuf>) {
    let run = sample_run();
    let mut other = sample_run();
    (other.seed, other.scenarios[0].checks[1].verdict) = (8, Verdict::Held);
    let mut trend = Trend::default();
    for number in 0..24 {
        let started_at = run.started_at + number * 3_600;
        trend.add(
            &format!("run-{number:02}"),
            &Run { started_at, ..if number % 7 == 3 { run.clone() } else { other.clone() } },
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let comparison = Comparison::new(("main", &run), ("a-branch-with-a-name-that-is-rather-long", &other));
    let pages = [
        ("run.html", run.to_html()),
        ("comparison.html", comparison.to_html()),
        ("trend.html", trend.to_html()),
    ];
    let paths = pages.map(|(name, page)| {
        let path = folder.path().join(name);
        fs::write(&path, page).unwrap();
        path
    });
    (folder, paths.to_vec())
}

#[test]
fn pages_open_offline_without_complaint_fit_a_telephone_are_readable_and_print() {
    let Some(program) = chromium::find() else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE_BROWSER").is_none(), "Chromium is not installed");
        eprintln!("skipped: Chromium is not installed");
        return;
    };
    let (_folder, pages) = pages();
    let mut browser = Chromium::start(&program);
    for page in &pages {
        for width in [360, 1280] {
            browser.open(page, width);
            // Also with everything unfolded.
            for unfold in ["0", "document.querySelectorAll('details').forEach((d) => { d.open = true; })"] {
                browser.value(unfold);
                let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
                assert!(wide <= width.into(), "{}: {wide} pixels of {width}", page.display());
            }
            for theme in ["light", "dark"] {
                let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
                browser.call("Emulation.setEmulatedMedia", json!({ "features": features }));
                let found = browser.value(CONTRAST);
                assert!(found["seen"].as_u64() > Some(50), "{found}");
                assert_eq!(found["low"], json!([]), "{} in the {theme}", page.display());
            }
            assert_eq!(browser.value(ACCESS), json!([]), "{}", page.display());
        }
        // The script ran, and what it adds works.
        browser.value("document.querySelector('[data-theme-button]').click()");
        assert_eq!(
            browser.value("document.documentElement.dataset.theme"),
            "light",
            "the page's script did not run"
        );
        let printed =
            browser.call("Page.printToPDF", json!({ "printBackground": true, "preferCSSPageSize": true }));
        let pdf = printed["data"].as_str().unwrap();
        // "%PDF-" in base64.
        assert!(pdf.starts_with("JVBERi0") && pdf.len() > 20_000, "{} characters", pdf.len());
        assert_eq!(browser.complaints, Vec::<String>::new(), "{}", page.display());
    }

    // Without JavaScript everything is there but the buttons.
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.open(&pages[0], 1280);
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": false }));
    let buttons =
        browser.value("[...document.querySelectorAll('button')].filter((b) => b.checkVisibility()).length");
    assert_eq!(buttons, 0, "a button that does nothing is shown");
    let text = browser.value("document.querySelector('main').innerText");
    let Value::String(text) = text else { panic!("{text}") };
    for says in ["What did not hold", "nobody takes the job over", "seaworthy run worker-crash --seed 7"] {
        assert!(text.contains(says), "{says}: {text}");
    }
}
