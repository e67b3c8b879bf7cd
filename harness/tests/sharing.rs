//! One stack for many processes: however many race for it there is one, and however they end nothing is left.
//!
//! The processes are this program again, with one ignored test. `SEAWORTHY_ROUNDS` asks for more rounds than a run of the whole suite has
//! time for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::RwLock,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use seaworthy_harness::{Env, env::Schema};

/// How long after its last user a stack may still be there.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a user of the stack does, in the processes that the tests below start.
#[tokio::test]
#[ignore = "a part of the other tests"]
async fn a_user_of_the_stack() {
    let Ok(log) = std::env::var("SEAWORTHY_TEST_LOG").map(PathBuf::from) else { return };
    let rounds: u32 = std::env::var("SEAWORTHY_TEST_USES").unwrap().parse().unwrap();
    for _ in 0..rounds {
        let migrations = log.with_extension("migrations");
        let schema = Schema::new().sql("create table orders (id int)").run("counted", move |_| {
            let migrations = migrations.clone();
            async move {
                append(&migrations, "ran");
                Ok(())
            }
        });
        let env = Env::builder().schema(schema).connections(10).build();
        let (db, redis) = (env.postgres().await, env.redis().await);
        // All the connections that were asked for, at the same time.
        let held: Vec<_> = futures_util::future::try_join_all((0..10).map(|_| db.acquire())).await.unwrap();
        redis.connection().await.unwrap();
        append(&log, db.name());
        drop(held);
        env.finish().await;
    }
}

fn append(path: &Path, line: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn rounds(usually: u32) -> u32 {
    std::env::var("SEAWORTHY_ROUNDS").map_or(usually, |rounds| rounds.parse().unwrap())
}

/// A folder for the stacks of one test, and the processes that use them.
struct Place {
    folder: PathBuf,
    log: PathBuf,
    provider: &'static str,
    users: Vec<Child>,
}

impl Place {
    fn new(name: &str, provider: &'static str) -> Self {
        let root =
            if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let folder = root.join(format!("sharing-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        let log = std::env::temp_dir().join(folder.file_name().unwrap());
        let _ = (fs::remove_file(&log), fs::remove_file(log.with_extension("migrations")));
        Place { folder, log, provider, users: Vec::new() }
    }

    fn start_user(&mut self, uses: u32) {
        let user = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_user_of_the_stack", "--ignored", "--nocapture"])
            .env("SEAWORTHY_DIR", &self.folder)
            .env("SEAWORTHY_PROVIDER", self.provider)
            .env("SEAWORTHY_TEST_LOG", &self.log)
            .env("SEAWORTHY_TEST_USES", uses.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(
                fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.log.with_extension("errors"))
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        self.users.push(user);
    }

    fn wait_for_users(&mut self) {
        let errors = self.log.with_extension("errors");
        for mut user in self.users.drain(..) {
            let status = user.wait().unwrap();
            assert!(status.success(), "{status}: {}", fs::read_to_string(&errors).unwrap_or_default());
        }
    }

    /// Every process of the place's stacks: services, guardians, users.
    fn processes(&self) -> Vec<i32> {
        let mut found: Vec<i32> = self.users.iter().map(|user| i32::try_from(user.id()).unwrap()).collect();
        let text = self.folder.to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let runs_there =
                fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.folder));
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let guards = String::from_utf8_lossy(&command).split('\0').any(|word| word.starts_with(&text));
            if runs_there || guards {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until nothing of the place's stacks is there any more.
    fn assert_gone(&self, what: &str) {
        assert!(self.users.is_empty());
        let give_up = Instant::now() + DEADLINE;
        loop {
            let folders: Vec<_> =
                fs::read_dir(&self.folder).unwrap().flatten().map(|entry| entry.path()).collect();
            let (processes, pointers) = (self.processes(), self.pointers());
            let containers = self.containers();
            if folders.is_empty() && processes.is_empty() && pointers.is_empty() && containers.is_empty() {
                return;
            }
            assert!(
                Instant::now() < give_up,
                "{what}: {DEADLINE:?} after the last user there are {folders:?}, processes {processes:?}, {pointers:?}, \
                 containers {containers:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The files by which users find the place's stacks.
    fn pointers(&self) -> Vec<PathBuf> {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache =
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home).unwrap_or_else(std::env::temp_dir);
        let keys = fs::read_dir(cache.join("seaworthy/stacks")).into_iter().flatten().flatten();
        let files = keys.flat_map(|key| fs::read_dir(key.path()).into_iter().flatten().flatten());
        let ours = |file: &PathBuf| {
            fs::read_to_string(file).is_ok_and(|text| Path::new(&text).starts_with(&self.folder))
        };
        files.map(|file| file.path()).filter(ours).collect()
    }

    fn containers(&self) -> Vec<String> {
        if self.provider != "docker" {
            return Vec::new();
        }
        let ids: std::collections::BTreeSet<String> =
            lines(&self.log).iter().filter_map(|name| name.split('_').nth(1).map(str::to_owned)).collect();
        ids.iter()
            .flat_map(|id| {
                let filter = format!("label=seaworthy.stack={id}");
                let listing =
                    Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().unwrap();
                String::from_utf8_lossy(&listing.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for user in &mut self.users {
            let _ = (user.kill(), user.wait());
        }
        for extension in ["", "migrations", "errors"] {
            let _ = fs::remove_file(self.log.with_extension(extension));
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Whether a test that asks for Docker can run.
fn docker_is_here() -> bool {
    let info = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let here = info.is_ok_and(|status| status.success());
    assert!(
        here || std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(),
        "SEAWORTHY_REQUIRE_DOCKER is set"
    );
    here
}

/// What is measured in seconds shares the machine; what loads it whole has it alone.
static MACHINE: RwLock<()> = RwLock::new(());

fn race(place: &mut Place, processes: usize) {
    let _ = (fs::remove_file(&place.log), fs::remove_file(place.log.with_extension("migrations")));
    for _ in 0..processes {
        place.start_user(1);
    }
    place.wait_for_users();
    let names = lines(&place.log);
    let stacks: std::collections::BTreeSet<_> =
        names.iter().map(|name| name.split('_').nth(1).unwrap()).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(
        (names.len(), distinct.len()),
        (processes, processes),
        "every process had a database of its own"
    );
    assert_eq!(stacks.len(), 1, "one stack");
    assert_eq!(lines(&place.log.with_extension("migrations")).len(), 1, "one run of the migrations");
}

/// Each of them also holds ten connections at once, which are 640 on a server with 100.
#[test]
fn sixty_four_processes_that_race_share_one_stack_and_one_run_of_the_migrations() {
    let _alone = MACHINE.write();
    let mut place = Place::new("race", "native");
    for _ in 0..rounds(2) {
        race(&mut place, 64);
        place.assert_gone("after a race");
    }
}

#[test]
fn processes_that_race_share_one_stack_of_containers() {
    if docker_is_here() {
        let _alone = MACHINE.write();
        let mut place = Place::new("race-docker", "docker");
        race(&mut place, 8);
        place.assert_gone("after a race");
    }
}

/// Kills one process of the stack with SIGKILL, whichever it is, and later the users that are left.
fn kill_at_random_moments(provider: &'static str, seed: u64, times: u32, latest: f64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut place = Place::new(&format!("kill-{provider}-{seed}"), provider);
    for round in 0..times {
        for _ in 0..3 {
            place.start_user(1000);
        }
        std::thread::sleep(Duration::from_secs_f64(random.random_range(0.0..latest)));
        let victim = *place.processes().choose(&mut random).unwrap();
        let command =
            fs::read_to_string(format!("/proc/{victim}/cmdline")).unwrap_or_default().replace('\0', " ");
        let kill =
            |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        let _ = kill(victim);
        std::thread::sleep(Duration::from_secs_f64(random.random_range(0.0..0.5)));
        for mut user in place.users.drain(..) {
            let _ = user.kill();
            user.wait().unwrap();
        }
        let start = command.chars().skip(command.len().saturating_sub(200)).collect::<String>();
        place.assert_gone(&format!("round {round}, after kill -9 of `{start}`"));
    }
}

#[test]
fn kill_9_of_any_process_of_a_native_stack_leaves_nothing() {
    let _shared = MACHINE.read();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || kill_at_random_moments("native", seed, rounds(8) / 4, 1.5));
        }
    });
}

#[test]
fn kill_9_of_any_process_of_a_stack_of_containers_leaves_nothing() {
    if docker_is_here() {
        let _alone = MACHINE.write();
        kill_at_random_moments("docker", 11, rounds(3), 3.0);
    }
}
