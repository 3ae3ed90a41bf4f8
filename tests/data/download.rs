//! Downloads from a test server on this machine. The test chooses the server's answers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use wgrad::data::mnist::{self, Progress};
use wgrad::data::{DataError, DownloadFailure};

use super::digits::*;

type Answer = dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server that runs until the test program ends. It records the names of requested files.
struct Mirror {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn new(
        answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mnist/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Arc<Answer>) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = noted.clone();
                let answer = answer.clone();
                thread::spawn(move || serve(stream, &noted, &*answer));
            }
        });
        Self { url, asked }
    }

    /// Starts a server that answers every request with the same status and body.
    fn always(status: &'static str, body: Vec<u8>) -> Self {
        Self::new(move |_, stream| respond(stream, status, body.len(), &body))
    }

    /// Starts a server that serves the files of a directory.
    fn of(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self::new(move |name, stream| match fs::read(directory.join(name)) {
            Ok(body) => respond(stream, "200 OK", body.len(), &body),
            Err(_) => respond(stream, "404 Not Found", 0, &[]),
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<Vec<String>>, answer: &Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let name = line
        .strip_prefix("GET /mnist/")?
        .split(' ')
        .next()?
        .to_owned();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    noted.lock().unwrap().push(name.clone());
    answer(&name, &mut stream).ok()
}

fn respond(
    stream: &mut TcpStream,
    status: &str,
    length: usize,
    body: &[u8],
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn download(mirrors: &[&Mirror], directory: &Path) -> Result<Vec<Progress>, DataError> {
    let urls: Vec<_> = mirrors.iter().map(|mirror| mirror.url.as_str()).collect();
    let mut calls = Vec::new();
    mnist::download_from(&urls, directory, &mut |progress| calls.push(progress))?;
    Ok(calls)
}

/// Downloads from a single mirror. Returns the reason why the first file failed. Asserts that no file is left in the
/// directory.
#[track_caller]
fn failure(mirror: &Mirror) -> DownloadFailure {
    let directory = tempfile::tempdir().unwrap();
    let error = download(&[mirror], directory.path()).unwrap_err();
    let target = directory.path().join(format!("{TRAIN_IMAGES}.gz"));
    assert_tells(&error, &target, &mirror.url);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    match error {
        DataError::Download { file, mut attempts } => {
            assert_eq!((file, attempts.len()), (target, 1));
            let attempt = attempts.remove(0);
            assert_eq!(attempt.url, format!("{}{TRAIN_IMAGES}.gz", mirror.url));
            attempt.reason
        }
        error => panic!("unexpected: {error:?}"),
    }
}

#[test]
fn a_mirror_without_the_file() {
    let reason = failure(&Mirror::always("404 Not Found", vec![]));
    assert_matches!(reason, DownloadFailure::Status { found: 404 });
}

#[test]
fn a_mirror_that_sends_something_else() {
    let reason = failure(&Mirror::always(
        "200 OK",
        b"<html>log in first</html>".to_vec(),
    ));
    assert_matches!(reason, DownloadFailure::Malformed { source }
        if matches!(*source, DataError::NotIdx { .. }));
    let mut corrupted = gzip(&images(3));
    *corrupted.last_mut().unwrap() ^= 1;
    assert_matches!(failure(&Mirror::always("200 OK", corrupted)), DownloadFailure::Malformed { source }
        if matches!(*source, DataError::Gzip { .. }));
}

#[test]
fn a_mirror_that_sends_another_data_set() {
    let reason = failure(&Mirror::always("200 OK", gzip(&images(3))));
    assert_matches!(reason, DownloadFailure::Checksum { expected, found }
        if expected.starts_with("ba891046") && found.len() == 64);
}

#[test]
fn a_mirror_that_breaks_off() {
    let mirror = Mirror::new(|_, stream| respond(stream, "200 OK", 1_000_000, &[0x1f, 0x8b]));
    assert_matches!(failure(&mirror), DownloadFailure::Transfer { .. });
}

#[test]
fn a_mirror_that_sends_without_end() {
    let mirror = Mirror::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 1 << 16])?;
        }
    });
    assert_matches!(
        failure(&mirror),
        DownloadFailure::TooLarge {
            maximum: 0x100_0000
        }
    );
}

#[test]
fn a_mirror_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mirror = Mirror {
        url: format!("http://{port}/mnist/"),
        asked: Arc::default(),
    };
    let started = std::time::Instant::now();
    assert_matches!(failure(&mirror), DownloadFailure::Transfer { .. });
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn no_mirror_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let error = mnist::download_from(&[], directory.path(), &mut |_| ()).unwrap_err();
    assert_tells(&error, directory.path(), "no mirror");
    assert_matches!(error, DataError::Download { attempts, .. } if attempts.is_empty());
}

#[test]
fn every_mirror_is_tried_and_told() {
    let [first, second] = ["404 Not Found", "503 Unavailable"].map(|s| Mirror::always(s, vec![]));
    let directory = tempfile::tempdir().unwrap();
    let error = download(&[&first, &second], directory.path()).unwrap_err();
    assert_tells(&error, directory.path(), &first.url);
    assert_tells(&error, directory.path(), &second.url);
    assert_matches!(error, DataError::Download { attempts, .. } if attempts.len() == 2);
}

#[test]
fn a_directory_that_cannot_be_made() {
    let digits = Digits::new();
    let within = digits.file(TRAIN_IMAGES).join("below");
    let error = mnist::download_from(&[], &within, &mut |_| ()).unwrap_err();
    assert_tells(&error, &within, "directory");
    assert_matches!(error, DataError::Write { file, .. } if file == within);
}

#[test]
fn files_of_another_data_set_are_left_alone() {
    let mirror = Mirror::always("404 Not Found", vec![]);
    for digits in [
        Digits::new(),
        Digits::with_gz(TRAIN_IMAGES, &gzip(&images(3))),
    ] {
        let before = fs::read_dir(&digits.path).unwrap().count();
        let error = download(&[&mirror], &digits.path).unwrap_err();
        assert_matches!(error, DataError::Checksum { .. });
        assert_eq!(fs::read_dir(&digits.path).unwrap().count(), before);
        assert_eq!(digits.open().unwrap().train.len(), 3);
    }
    assert!(mirror.asked().is_empty());
}

#[test]
fn the_original_from_the_second_mirror_and_only_what_is_missing() {
    let Some(original) = mnist::locate() else {
        super::common::mnist();
        return;
    };
    let served = tempfile::tempdir().unwrap();
    for name in NAMES {
        let gz = format!("{name}.gz");
        let gzipped = fs::read(original.join(&gz));
        let contents = gzipped.or_else(|_| fs::read(original.join(name)).map(|plain| gzip(&plain)));
        fs::write(served.path().join(gz), contents.unwrap()).unwrap();
    }
    let [empty, mirror] = [
        Mirror::always("404 Not Found", vec![]),
        Mirror::of(served.path()),
    ];
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new").join("mnist");
    let calls = download(&[&empty, &mirror], &directory).unwrap();
    let gz = NAMES.map(|name| format!("{name}.gz"));
    assert_eq!(mirror.asked(), gz);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
    mnist::open(&directory).unwrap();
    for name in &gz {
        let of_file: Vec<_> = calls.iter().filter(|call| call.file == name).collect();
        let length = fs::metadata(directory.join(name)).unwrap().len();
        assert!(of_file.iter().all(|call| call.total == Some(length)));
        assert!(of_file.is_sorted_by_key(|call| call.received));
        assert_eq!(of_file[0].received, 0);
        assert_eq!(of_file[of_file.len() - 1].received, length);
    }

    // A broken file is downloaded again, even if it is no gzip file or was already unpacked. A good file is kept.
    // Temporary files of a killed download are removed.
    let cut = fs::read(directory.join(&gz[1])).unwrap();
    fs::write(directory.join(&gz[1]), &cut[..cut.len() / 2]).unwrap();
    fs::write(directory.join(&gz[2]), b"<html>").unwrap();
    fs::write(directory.join(&gz[3]), b"\0\0").unwrap();
    let dead = directory.join(".wgrad-0123456789abcdef.tmp");
    fs::write(&dead, &cut[..99]).unwrap();
    download(&[&mirror], &directory).unwrap();
    assert_eq!(mirror.asked()[4..], gz[1..]);
    assert!(!dead.exists());
    mnist::open(&directory).unwrap();
}
