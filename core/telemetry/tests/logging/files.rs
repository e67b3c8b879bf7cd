//! Log files: rotation, retention, restarts, full disks.

use std::{fs, io::Read as _, path::Path, process::Command, time::Duration};

use seaworthy_telemetry::{
    logging::{Logging, MAX_LINE},
    settings::{Settings, Strategy},
};
use tracing::{dispatcher, info};

use crate::collect::{Folder, eventually};

const SOON: Duration = Duration::from_secs(10);

fn settings(folder: &Folder) -> Settings {
    Settings::new("shop").strategy(Strategy::Files).dir(&folder.0).max_size(1 << 10)
}

/// The names of the finished files and of the one in use, the oldest first.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "shop.log");
    names.sort();
    names
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

/// The numbers that the lines of all files carry, in the files' order. Every line must be whole.
pub(crate) fn numbers(dir: &Path) -> Vec<i64> {
    let text: String = names(dir).iter().map(|name| read(&dir.join(name))).collect();
    let number =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"]["number"].as_i64();
    text.lines().filter_map(number).collect()
}

fn log(settings: &Settings, numbers: std::ops::Range<i64>) {
    let (logging, dispatch) = Logging::build(settings).unwrap();
    dispatcher::with_default(&dispatch, || {
        for number in numbers {
            info!(number, "a line of a file");
        }
    });
    drop(logging);
}

#[test]
fn files_rotate_by_size_are_compressed_and_lose_nothing() {
    let folder = Folder::new();
    log(&settings(&folder).keep(1000, 1 << 30), 0..200);
    let names = names(&folder.0);
    assert!(names.len() > 20, "{names:?}");
    let (newest, older) = names.split_last().unwrap();
    assert!(newest.ends_with(".log") && older.iter().all(|name| name.ends_with(".log.gz")), "{names:?}");
    for name in &names {
        assert!(read(&folder.0.join(name)).len() <= 1 << 10, "{name}");
    }
    assert_eq!(numbers(&folder.0), (0..200).collect::<Vec<_>>());
    assert_eq!(fs::read_link(folder.0.join("shop.log")).unwrap(), Path::new(newest));
}

#[test]
fn only_so_many_files_and_bytes_are_kept() {
    let folder = Folder::new();
    log(&settings(&folder).keep(3, 1 << 20), 0..100);
    assert_eq!(names(&folder.0).len(), 4);
    assert_eq!(numbers(&folder.0).last(), Some(&99));
    let folder = Folder::new();
    log(&settings(&folder).keep(100, 2000).compress(false), 0..100);
    let names = names(&folder.0);
    assert_eq!(names.len(), 3, "two of about 1 KiB and the one in use: {names:?}");
    assert!(names.iter().all(|name| name.ends_with(".log")));
}

#[test]
fn no_line_is_longer_than_its_bound_however_much_is_escaped() {
    let folder = Folder::new();
    let settings = settings(&folder).max_size(1 << 30).allow(["a", "b", "c", "d", "e", "f", "g", "h"]);
    let (logging, dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&dispatch, || {
        for long in
            ["\"".repeat(9000), "\\".repeat(9000), "\n".repeat(9000), "é ]".repeat(3000), "x".repeat(7900)]
        {
            info!(
                a = long,
                b = long,
                c = long,
                d = long,
                e = long,
                f = long,
                g = long,
                h = long,
                number = 1,
                "{long}"
            );
        }
    });
    drop(logging);
    let lengths: Vec<usize> = read(&folder.0.join("shop.log")).lines().map(str::len).collect();
    assert_eq!(lengths.len(), 5);
    assert!(lengths.iter().all(|length| (32 << 10..MAX_LINE).contains(length)), "{lengths:?}");
}

#[test]
fn files_rotate_by_time() {
    let folder = Folder::new();
    let settings = settings(&folder).max_size(1 << 20).rotate_every(Duration::from_secs(1)).compress(false);
    let (logging, dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&dispatch, || {
        let mut number = 0;
        eventually("two files", || {
            info!(number, "tick");
            number += 1;
            logging.handle().flush(SOON) && names(&folder.0).len() >= 2
        });
    });
    let first = read(&folder.0.join(&names(&folder.0)[0]));
    let second_of = |line: &str| line[..28].to_owned();
    let seconds: Vec<String> = first.lines().map(second_of).collect();
    assert!(seconds.iter().all(|second| *second == seconds[0]), "{seconds:?}");
}

#[test]
fn a_restart_goes_on_in_the_same_file_and_repairs_a_torn_line() {
    let folder = Folder::new();
    let settings = settings(&folder).max_size(1 << 20);
    log(&settings, 0..3);
    let path = folder.0.join(&names(&folder.0)[0]);
    let torn = read(&path) + "{\"time\":\"20";
    fs::write(&path, &torn).unwrap();
    log(&settings, 3..6);
    assert_eq!(names(&folder.0).len(), 1);
    let text = read(&path);
    assert!(text.starts_with(&torn), "nothing is written over");
    let whole: Vec<&str> = text.lines().filter(|line| line.ends_with('}')).collect();
    assert_eq!((whole.len(), text.lines().count()), (6, 7), "{text}");
}

#[test]
fn two_processes_of_a_service_do_not_share_a_file() {
    let folder = Folder::new();
    let settings = settings(&folder).max_size(1 << 20).keep(0, 0);
    let (old, old_dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&old_dispatch, || info!(number = 1, "the old one"));
    assert!(old.handle().flush(SOON));
    log(&settings, 2..3);
    dispatcher::with_default(&old_dispatch, || info!(number = 3, "still there"));
    assert!(old.handle().flush(SOON));
    assert_eq!(names(&folder.0).len(), 2, "the file in use was neither deleted nor compressed");
    assert_eq!(numbers(&folder.0), [1, 3, 2]);
}

#[test]
fn a_file_that_somebody_took_away_is_replaced() {
    let folder = Folder::new();
    let (logging, dispatch) = Logging::build(&settings(&folder)).unwrap();
    dispatcher::with_default(&dispatch, || {
        info!(number = 1, "one");
        assert!(logging.handle().flush(SOON));
        fs::remove_file(folder.0.join(&names(&folder.0)[0])).unwrap();
        eventually("there is a file again", || {
            info!(number = 2, "two");
            logging.handle().flush(SOON) && !names(&folder.0).is_empty()
        });
    });
}

/// A small disk in memory; `None` where one may not mount.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Disk(path))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_costs_the_lines_it_has_no_room_for_and_no_others() {
    let folder = Folder::new();
    let Some(_disk) = Disk::mount(&folder.0) else {
        eprintln!("not tested: mounting a small disk needs root");
        return;
    };
    let (logging, dispatch) = Logging::build(&settings(&folder).max_size(1 << 30)).unwrap();
    let handle = logging.handle();
    dispatcher::with_default(&dispatch, || {
        fs::write(folder.0.join("ballast"), vec![0; 48 << 10]).unwrap();
        for number in 0..500 {
            info!(number, "a line of a file");
        }
        assert!(handle.flush(SOON));
        let failed = handle.counters().failed as usize;
        assert!(failed > 0, "the disk is full");
        fs::remove_file(folder.0.join("ballast")).unwrap();
        for number in 500..600 {
            info!(number, "a line of a file");
        }
        assert!(handle.flush(SOON));
        assert_eq!(handle.counters().failed as usize, failed, "nothing is lost once there is room");
        let kept = numbers(&folder.0);
        assert_eq!(kept.len() + failed, 600);
        assert_eq!(&kept[kept.len() - 100..], (500..600).collect::<Vec<_>>());
    });
    drop(logging);
}

#[test]
fn a_folder_that_cannot_be_made_fails_lines_and_nothing_else() {
    let folder = Folder::new();
    fs::write(folder.0.join("file"), "").unwrap();
    let settings = settings(&folder).dir(folder.0.join("file/logs"));
    let (logging, dispatch) = Logging::build(&settings).unwrap();
    dispatcher::with_default(&dispatch, || info!("lost"));
    assert!(logging.handle().flush(SOON));
    assert_eq!(logging.handle().counters().failed, 1);
    fs::remove_file(folder.0.join("file")).unwrap();
    dispatcher::with_default(&dispatch, || info!("kept"));
    assert!(logging.handle().flush(SOON));
    assert_eq!(logging.handle().counters().failed, 1);
}
