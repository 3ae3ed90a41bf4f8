//! A static web server for the local machine.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::host::{Failure, Host};
use crate::web;

/// A connection that sends no data for this time is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The maximum number of bytes of a request that are read.
const LONGEST_REQUEST: u64 = 16 << 10;

/// Serves the built page to browsers on this machine. Does not return: the user ends the process.
pub(crate) fn serve(host: &impl Host, port: u16) -> Result<(), Failure> {
    let cannot = |error| Failure::new(format!("cannot listen on port {port}: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    eprintln!(
        "xtask: http://localhost:{}/ (Ctrl-C stops it)",
        address.port()
    );
    answer_all(&listener, &host.root().join(web::DIST));
    Ok(())
}

/// Answers all connections, each in its own thread: a browser opens several at once.
fn answer_all(listener: &TcpListener, root: &Path) {
    for stream in listener.incoming().flatten() {
        let root = root.to_owned();
        // If this fails, the browser has closed the connection. The error is of no interest then.
        thread::spawn(move || answer(&stream, &root));
    }
}

fn answer(stream: &TcpStream, root: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(io::Read::take(stream, LONGEST_REQUEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let method = words.next();
    let target = words.next().unwrap_or_default();
    let with_body = method == Some("GET");
    if !with_body && method != Some("HEAD") {
        return respond(
            stream,
            "405 Method Not Allowed",
            "text/plain",
            b"GET only\n",
            true,
        );
    }
    let file = file_of(target).map(|path| root.join(path));
    match file.map(|path| (fs::read(&path), content_type(&path))) {
        Some((Ok(body), kind)) => respond(stream, "200 OK", kind, &body, with_body),
        _ => respond(
            stream,
            "404 Not Found",
            "text/plain",
            b"not found\n",
            with_body,
        ),
    }
}

fn respond(
    mut stream: &TcpStream,
    status: &str,
    kind: &str,
    body: &[u8],
    with_body: bool,
) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(if with_body { body } else { b"" })
}

/// Returns the file that a request names, as a path relative to the root, or `None` if it lies outside the root.
fn file_of(target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut file = PathBuf::from(path);
    if path.is_empty() || path.ends_with('/') {
        file.push("index.html");
    }
    let is_below = file
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_below.then_some(file)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::scratch::ScratchDir;

    #[test]
    fn only_files_below_the_root_are_named() {
        let named = |target| file_of(target).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(named("/").as_deref(), Some("index.html"));
        assert_eq!(named("/wasm/a.wasm?v=1").as_deref(), Some("wasm/a.wasm"));
        for outside in [
            "/../Cargo.toml",
            "//etc/passwd",
            "/wasm/../../x",
            "",
            "http://host/",
        ] {
            assert_eq!(named(outside), None, "{outside}");
        }
    }

    fn ask(address: std::net::SocketAddr, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn files_come_with_their_types() -> io::Result<()> {
        let root = ScratchDir::new()?;
        fs::write(root.path().join("index.html"), "<p>page")?;
        fs::write(root.path().join("module.wasm"), "wasm")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let served = root.path().to_owned();
        thread::spawn(move || answer_all(&listener, &served));

        let page = ask(address, "GET /")?;
        assert!(
            page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"),
            "{page}"
        );
        assert!(page.ends_with("\r\n\r\n<p>page"), "{page}");
        let module = ask(address, "GET /module.wasm")?;
        assert!(
            module.contains("Content-Type: application/wasm\r\n"),
            "{module}"
        );
        let head = ask(address, "HEAD /module.wasm")?;
        assert!(head.contains("Content-Length: 4\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(address, "GET /none")?.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /")?.starts_with("HTTP/1.1 405"));
        Ok(())
    }
}
