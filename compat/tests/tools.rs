//! Clients that are not Rust: curl, wrk, nghttp and h2load. With the feature `live-servers`, and then a tool that is missing fails
//! its test.
#![cfg(feature = "live-servers")]

mod common;

use aqueduct_compat::hyper::Builder;
use common::{BIG, COLOURS, Errors, serve, stop, watchdog};
use std::process::{Command, Output};

/// Runs a tool to its end.
#[track_caller]
fn run(package: &str, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new("timeout").args(["60", program]).args(arguments).output().expect("timeout");
    // What `timeout` says of a program that it cannot find.
    assert_ne!(
        output.status.code(),
        Some(127),
        "{program} is not installed: it is in Debian's package {package}"
    );
    output
}

/// As `run`, for what must succeed. Returns what it printed.
#[track_caller]
fn succeed(package: &str, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = run(package, program, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{said}", output.status);
    output.stdout
}

#[test]
fn curl_speaks_both_versions() {
    let _dog = watchdog!(180);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let origin = format!("http://{}", server.local_addr().unwrap());
        let curl =
            |arguments: &[&str]| succeed("curl", "curl", &[&["-sSf", "--noproxy", "*"], arguments].concat());
        for version in ["--http1.1", "--http1.0", "--http2-prior-knowledge"] {
            assert_eq!(curl(&[version, &origin]), b"word");
            assert_eq!(curl(&[version, &format!("{origin}/big")]).len(), BIG);
        }
        // Two requests on one connection. Not with HTTP/2: there curl 7.88, which Debian 12 has, trips over itself (curl's
        // pull request 10643); nghttp does that below.
        let twice = [format!("{origin}/slow"), format!("{origin}/")];
        assert_eq!(curl(&["--http1.1", &twice[0], &twice[1]]), b"slow wordword");
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let file = std::env::current_exe().unwrap();
            let sent = std::fs::read(&file).unwrap();
            let sent = &sent[..sent.len().min(4 << 20)];
            let data = std::env::temp_dir().join(format!("aqueduct-curl-{}", std::process::id()));
            std::fs::write(&data, sent).unwrap();
            let upload = format!("@{}", data.display());
            let echoed = curl(&[version, "--data-binary", &upload, &format!("{origin}/echo")]);
            std::fs::remove_file(&data).unwrap();
            assert!(echoed == sent, "{} bytes came back of {}", echoed.len(), sent.len());
        }
        // A body that breaks off is told from one that ends.
        for (version, codes) in [("--http1.1", [18, 52]), ("--http2-prior-knowledge", [92, 92])] {
            let broken =
                run("curl", "curl", &["-sS", "--noproxy", "*", version, &format!("{origin}/broken")]);
            let code = broken.status.code().unwrap();
            assert!(codes.contains(&code), "{version}: {code}: {}", String::from_utf8_lossy(&broken.stderr));
        }
        stop(server);
    }
}

#[test]
fn wrk_finds_no_error() {
    let _dog = watchdog!(180);
    for colour in COLOURS {
        let (builder, errors) = Errors::builder();
        let server = serve(colour, builder);
        let url = format!("http://{}/", server.local_addr().unwrap());
        let text = String::from_utf8(succeed("wrk", "wrk", &["-t1", "-c100", "-d2s", &url])).unwrap();
        assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
        let requests = text.lines().find_map(|line| line.split_once(" requests in")).expect("a count").0;
        assert!(requests.trim().parse::<u64>().unwrap() > 100, "{text}");
        // wrk leaves in the middle of its requests.
        common::until(|| server.stats().open == 0);
        assert!(
            errors.all().iter().all(|error| error.contains("connection") || error.contains("reset")),
            "{:?}",
            errors.all()
        );
        stop(server);
    }
}

#[test]
fn nghttp_multiplexes() {
    let _dog = watchdog!(180);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let origin = format!("http://{}", server.local_addr().unwrap());
        let paths: Vec<_> = ["/slow", "/", "/nowhere"].map(|path| origin.clone() + path).into();
        let arguments: Vec<_> = ["-nv"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let text = String::from_utf8_lossy(&succeed("nghttp2-client", "nghttp", &arguments)).into_owned();
        assert_eq!(
            (text.matches(":status: 200").count(), text.matches(":status: 404").count()),
            (2, 1),
            "{text}"
        );
        assert!(!text.contains("RST_STREAM"), "{text}");
        // What is ready first comes first.
        assert!(text.find(":status: 404").unwrap() < text.rfind(":status: 200").unwrap(), "{text}");
        assert_eq!(server.stats().accepted, 1);
        stop(server);
    }
}

#[test]
fn h2load_finds_no_error() {
    let _dog = watchdog!(180);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let url = format!("http://{}/", server.local_addr().unwrap());
        let arguments = ["-n5000", "-c20", "-m50", &url];
        let text = String::from_utf8_lossy(&succeed("nghttp2-client", "h2load", &arguments)).into_owned();
        assert!(text.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
        assert!(text.contains("5000 2xx"), "{text}");
        stop(server);
    }
}
