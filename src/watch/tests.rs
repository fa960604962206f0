//! With real files and the real clock: bounds are generous where something has to happen.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::config::load::{Disk, Start, load_tree};
use crate::metrics::Metrics;

struct Watched {
    folder: TempDir,
    changes: UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Loads a YAML file with its includes, and the `others` that it may name.
struct Loader {
    main: PathBuf,
    others: Vec<PathBuf>,
    seen: Mutex<Arc<Seen>>,
    /// Told of each load but the first.
    loads: UnboundedSender<()>,
}

impl Loader {
    fn new(main: PathBuf, others: Vec<PathBuf>) -> (Loader, UnboundedReceiver<()>) {
        let (loads, told) = unbounded_channel();
        let loader = Loader {
            main,
            others,
            seen: Mutex::default(),
            loads,
        };
        loader.read();
        (loader, told)
    }

    fn read(&self) {
        let disk = Disk::default();
        load_tree(Start::Path(&self.main), &disk, &|_| None);
        let mut seen = disk.into_seen();
        self.others.iter().for_each(|file| seen.file(file));
        *self.seen.lock() = Arc::new(seen);
    }
}

impl Loads for Loader {
    fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.lock())
    }

    async fn load(&self) {
        self.read();
        self.loads.send(()).unwrap();
    }
}

/// Files of a configuration, watched.
fn watched(files: &[(&str, &str)], others: &[&str]) -> Watched {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
    }
    watched_in(folder, others)
}

fn watched_in(folder: TempDir, others: &[&str]) -> Watched {
    let others = others.iter().map(|name| folder.path().join(name)).collect();
    let (loader, changes) = Loader::new(folder.path().join("main.yaml"), others);
    let wake = Arc::new(Notify::new());
    let eye = Eye::open(loader.main.clone(), loader.seen(), Kernel::new(Arc::clone(&wake))).unwrap();
    Watched {
        folder,
        changes,
        task: tokio::spawn(follow(eye, wake, loader)),
    }
}

impl Watched {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes beside the file, and renames over it.
    fn save(&self, name: &str, text: &str) {
        self.write(".new", text);
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    /// Told by the kernel, so sooner than the slow look.
    async fn reloads(&mut self) {
        let told = timeout(SLOW * 9 / 10, self.changes.recv()).await;
        told.expect("the change is seen").unwrap();
    }

    async fn does_not_reload(&mut self) {
        let waited = timeout(LATEST + 2 * QUIET, self.changes.recv()).await;
        assert!(waited.is_err(), "nothing has changed");
    }
}

async fn ready(watched: &mut Watched) {
    watched.does_not_reload().await;
}

#[tokio::test]
async fn saves_of_every_kind_are_seen() {
    let mut watched = watched(&[("main.yaml", "a: 1")], &[]);
    ready(&mut watched).await;
    watched.save("main.yaml", "a: 2");
    watched.reloads().await;
    watched.write("main.yaml", "a: 3");
    watched.reloads().await;
    fs::remove_file(watched.path("main.yaml")).unwrap();
    watched.reloads().await;
    watched.write("main.yaml", "a: 3");
    watched.reloads().await;
    watched.does_not_reload().await;
}

#[tokio::test]
async fn only_the_content_counts() {
    let mut watched = watched(&[("main.yaml", "a: 1")], &[]);
    ready(&mut watched).await;
    let now = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
    fs::File::options()
        .write(true)
        .open(watched.path("main.yaml"))
        .unwrap()
        .set_times(now)
        .unwrap();
    watched.does_not_reload().await;
    watched.write("main.yaml", "a: 1");
    watched.does_not_reload().await;
    watched.save("main.yaml", "a: 1");
    watched.does_not_reload().await;
    watched.write("unrelated", "b: 1");
    watched.does_not_reload().await;
}

#[tokio::test]
async fn a_save_in_steps_is_one_change() {
    let mut watched = watched(&[("main.yaml", "a: 1")], &[]);
    ready(&mut watched).await;
    for step in 0..10 {
        watched.write("main.yaml", &format!("a: {step}"));
    }
    watched.write("main.yaml", "a: end");
    watched.reloads().await;
    watched.does_not_reload().await;
}

#[tokio::test]
async fn includes_come_and_go() {
    let mut watched = watched(
        &[
            ("main.yaml", "include: ['rules/*.yaml', one.yaml]"),
            ("rules/a.yaml", "a: 1"),
        ],
        &[],
    );
    ready(&mut watched).await;
    watched.write("rules/b.yaml", "b: 1");
    watched.reloads().await;
    watched.write("rules/b.yaml", "b: 2");
    watched.reloads().await;
    watched.write("rules/notes.txt", "no match");
    watched.does_not_reload().await;
    fs::remove_file(watched.path("rules/a.yaml")).unwrap();
    watched.reloads().await;
    // Named, and missing until now.
    watched.write("one.yaml", "one: 1");
    watched.reloads().await;
    watched.write("main.yaml", "include: sub/deep/two.yaml");
    watched.reloads().await;
    fs::create_dir_all(watched.path("sub/deep")).unwrap();
    watched.write("sub/deep/two.yaml", "two: 2");
    watched.reloads().await;
    // No longer included.
    watched.write("rules/b.yaml", "b: 3");
    watched.does_not_reload().await;
}

#[tokio::test]
async fn a_bad_configuration_is_still_watched() {
    let mut watched = watched(&[("main.yaml", "include: b.yaml"), ("b.yaml", "b: 1")], &[]);
    ready(&mut watched).await;
    watched.write("main.yaml", "include: [b.yaml, {]");
    watched.reloads().await;
    watched.save("main.yaml", "include: b.yaml");
    watched.reloads().await;
    watched.save("b.yaml", "{ no: yaml");
    watched.reloads().await;
    watched.save("b.yaml", "b: 2");
    watched.reloads().await;
}

#[tokio::test]
async fn other_files_count_too() {
    let mut watched = watched(
        &[("main.yaml", "a: 1"), ("data/samples.csv", "1")],
        &["data/samples.csv", "late.pem"],
    );
    ready(&mut watched).await;
    watched.write("data/samples.csv", "2");
    watched.reloads().await;
    watched.write("late.pem", "now");
    watched.reloads().await;
}

/// A volume as Kubernetes mounts a ConfigMap: files are links through `..data`, which is exchanged.
fn volume(folder: &Path, version: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("main.yaml"), version).unwrap();
    symlink(version, folder.join("..tmp")).unwrap();
    fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn exchanged_links_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    volume(folder.path(), "..v1");
    symlink("..data/main.yaml", folder.path().join("main.yaml")).unwrap();
    let mut watched = watched_in(folder, &[]);
    ready(&mut watched).await;
    for version in ["..v2", "..v3"] {
        volume(watched.folder.path(), version);
        watched.reloads().await;
    }
    // What a link leads to may be written in place.
    watched.write("..v3/main.yaml", "written");
    watched.reloads().await;
    fs::remove_dir_all(watched.path("..v1")).unwrap();
    watched.does_not_reload().await;
}

#[tokio::test]
async fn an_exchanged_folder_is_seen() {
    let mut watched = watched(
        &[
            ("main.yaml", "include: sub/a.yaml"),
            ("sub/a.yaml", "1"),
            ("new/a.yaml", "2"),
        ],
        &[],
    );
    ready(&mut watched).await;
    fs::rename(watched.path("sub"), watched.path("old")).unwrap();
    fs::rename(watched.path("new"), watched.path("sub")).unwrap();
    watched.reloads().await;
    fs::remove_dir_all(watched.path("old")).unwrap();
    watched.does_not_reload().await;
    watched.write("sub/a.yaml", "3");
    watched.reloads().await;
}

#[tokio::test]
async fn without_the_kernel_files_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main.yaml");
    fs::write(&main, "a: 1").unwrap();
    let (loader, mut changes) = Loader::new(main.clone(), Vec::new());
    let wake = Arc::new(Notify::new());
    let eye = Eye::open(main.clone(), loader.seen(), Kernel::deaf(Arc::clone(&wake))).unwrap();
    let task = tokio::spawn(follow(eye, wake, loader));
    fs::write(&main, "a: 2").unwrap();
    timeout(POLL * 5, changes.recv()).await.unwrap().unwrap();
    task.abort();
}

#[tokio::test]
async fn pipes_and_missing_files_are_not_watched() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: PathBuf| {
        let opened = Eye::open(path, Arc::default(), Kernel::deaf(Arc::default()));
        opened.unwrap_err().kind()
    };
    assert_eq!(refused("/dev/null".into()), io::ErrorKind::Unsupported);
    assert_eq!(refused(folder.path().join("none")), io::ErrorKind::NotFound);
}

/// Whenever a file changes, before a load reads it or after, it is loaded again.
#[tokio::test]
async fn no_change_is_missed_beside_a_load() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in [("main.yaml", "a: 1"), ("a.pem", "1"), ("b.pem", "1")] {
        fs::write(at(name), text).unwrap();
    }
    let (loader, _changes) = Loader::new(at("main.yaml"), vec![at("a.pem"), at("b.pem")]);
    // Changed after the first load, and before anyone looks.
    fs::write(at("b.pem"), "2").unwrap();
    let mut eye = Eye::open(at("main.yaml"), loader.seen(), Kernel::deaf(Arc::default())).unwrap();
    assert!(eye.look(&loader.seen()));
    loader.read();
    assert!(!eye.look(&loader.seen()));
    // Changed after a load that follows a look.
    fs::write(at("a.pem"), "2").unwrap();
    assert!(eye.look(&loader.seen()));
    loader.read();
    fs::write(at("b.pem"), "3").unwrap();
    assert!(eye.look(&loader.seen()));
    // Someone else has loaded it already.
    loader.read();
    assert!(!eye.look(&loader.seen()));
}

/// A server from a file, and the file.
fn server(folder: &TempDir) -> (Arc<Server>, PathBuf) {
    let main = folder.path().join("main.yaml");
    fs::write(&main, configuration(1)).unwrap();
    let server = Server::start(Source::File(main.clone()), None, Metrics::new().unwrap());
    (server.map_err(|failure| failure.to_string()).unwrap(), main)
}

fn configuration(seed: u32) -> String {
    format!(
        "seed: {seed}\nlisteners: {{web: {{address: '127.0.0.1:0', upstream: mirror}}}}\nupstreams: {{mirror: {{fake: echo}}}}\n"
    )
}

async fn has_seed(server: &Server, seed: u64) {
    let reached = async {
        while server.snapshot().seed.0 != seed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SLOW * 9 / 10, reached).await.expect("reloaded");
}

#[tokio::test]
async fn a_server_follows_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (server, main) = server(&folder);
    let _watcher = start(Arc::clone(&server)).unwrap();
    tokio::time::sleep(LATEST).await;
    assert_eq!(server.metrics().reloads().0, 0, "nothing has changed");
    fs::write(&main, configuration(2)).unwrap();
    has_seed(&server, 2).await;
    fs::write(&main, "seed: [").unwrap();
    let failed = async {
        while server.metrics().reloads().1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SLOW * 9 / 10, failed).await.unwrap();
    assert_eq!(server.snapshot().seed.0, 2, "the old configuration stays");
    fs::write(&main, configuration(3)).unwrap();
    has_seed(&server, 3).await;
    server.drain(Duration::from_secs(5)).await;
    fs::write(&main, configuration(4)).unwrap();
    tokio::time::sleep(2 * LATEST).await;
    assert!(server.addresses().is_empty(), "a server that stops opens nothing");
}

#[tokio::test]
async fn a_change_before_watching_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (server, main) = server(&folder);
    fs::write(&main, configuration(2)).unwrap();
    let _watcher = start(Arc::clone(&server)).unwrap();
    has_seed(&server, 2).await;
}

/// A certificate, say: the YAML does not change with it.
#[tokio::test]
async fn a_change_of_a_named_file_before_watching_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (main, page) = (folder.path().join("main.yaml"), folder.path().join("page"));
    fs::write(&page, "1").unwrap();
    let rule = "rules: [{name: page, faults: [{abort: {status: 503, file: page}}]}]\n";
    fs::write(&main, configuration(1) + rule).unwrap();
    let server = Server::start(Source::File(main), None, Metrics::new().unwrap()).unwrap();
    let hash = server.snapshot().hash.clone();
    fs::write(&page, "2").unwrap();
    let _watcher = start(Arc::clone(&server)).unwrap();
    let reloaded = async {
        while server.metrics().reloads().0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SLOW * 9 / 10, reloaded).await.unwrap();
    assert_eq!(server.snapshot().hash, hash, "the YAML is as before");
}
