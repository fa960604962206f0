use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

const MIB: usize = 1 << 20;

#[track_caller]
fn check(path: &Path, expect: Result<&str, &str>) {
    let read = read(path, MIB).map_err(|error| error.to_string());
    let read = read.as_deref().map_err(String::as_str);
    assert_eq!(read, expect.map(str::as_bytes), "{}", path.display());
}

#[test]
fn only_regular_files_are_read_and_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), "content").unwrap();
    check(&at("file"), Ok("content"));
    check(folder.path(), Err("it is a folder, not a file"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    check(&at("pipe"), Err("it is a pipe, and only a regular file can be read"));
    symlink("pipe", at("link to a pipe")).unwrap();
    check(
        &at("link to a pipe"),
        Err("it is a pipe, and only a regular file can be read"),
    );
    let _listener = UnixListener::bind(at("socket")).unwrap();
    check(
        &at("socket"),
        Err("it is a socket, and only a regular file can be read"),
    );
    for device in ["/dev/zero", "/dev/null", "/dev/tty"] {
        check(
            Path::new(device),
            Err("it is a device, and only a regular file can be read"),
        );
    }
    symlink("loop", at("loop")).unwrap();
    assert!(read(&at("loop"), MIB).is_err());
    assert_eq!(read(&at("none"), MIB).unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// Kubernetes mounts a ConfigMap as links over `..data`, which it replaces.
#[test]
fn links_of_a_config_map_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("..2026")).unwrap();
    std::fs::write(at("..2026/squall.yaml"), "seed: 1").unwrap();
    symlink("..2026", at("..data")).unwrap();
    symlink("..data/squall.yaml", at("squall.yaml")).unwrap();
    check(&at("squall.yaml"), Ok("seed: 1"));
}

#[test]
fn sizes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, vec![b'x'; MIB]).unwrap();
    assert_eq!(read(&path, MIB).unwrap().len(), MIB);
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_len(MIB as u64 + 1)
        .unwrap();
    check(&path, Err("it is larger than 1 MiB"));
    // A sparse file of a terabyte takes no room, but reading it would.
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    check(&path, Err("it is larger than 1 MiB"));
    assert!(
        read_at_most(io::repeat(0), MIB)
            .unwrap_err()
            .to_string()
            .contains("1 MiB")
    );
}

#[test]
fn a_named_file_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    std::fs::write(&path, "content").unwrap();
    let named = Named::default();
    named.note([other.clone()]);
    assert_eq!(named.read(&path, MIB).unwrap(), "content");
    std::fs::write(&path, "changed").unwrap();
    assert_eq!(named.read(&path, MIB).unwrap(), "content");
    assert!(named.read(&path, 1).unwrap_err().to_string().contains("larger"));
    assert!(named.read(&other, MIB).is_err());
    assert!(named.into_seen().files().eq([&path, &other]));
}

#[test]
fn descriptors_are_streams_unless_they_are_files() {
    let (reader, _writer) = io::pipe().unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
    assert!(is_stream(Path::new(&format!("/dev/fd/{descriptor}"))));
    assert!(is_stream(Path::new(&format!("/proc/self/fd/{descriptor}"))));
    let file = tempfile::tempfile().unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    assert!(!is_stream(Path::new(&format!("/dev/fd/{descriptor}"))));
    for other in [
        "/dev/zero",
        "/dev",
        "dev/stdin",
        "/dev/fd",
        "/proc/self/fd/",
        "squall.yaml",
    ] {
        assert!(!is_stream(Path::new(other)), "{other}");
    }
}
