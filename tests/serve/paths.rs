//! Secret paths that a file holds.

use std::process::Output;

use crate::support::process::{Server, command};
use crate::support::{TempDir, peer, wait_for};

const FIRST: &str = "00112233445566778899aabbccddeeff";
const SECOND: &str = "ffeeddccbbaa99887766554433221100";
const THIRD: &str = "0123456789abcdef0123456789abcdef";

fn file(directory: &TempDir) -> String {
    directory.path().join("path").display().to_string()
}

fn status(server: &Server, path: &str) -> u16 {
    let review = peer("peer", "https://istio.example.com/metadata/").to_string();
    let answer = server.client().post(path, &review);
    if answer.status == 503 {
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
    answer.status
}

#[test]
fn paths_of_the_file_are_served_and_unknown_ones_are_retried() {
    let (inventory, directory) = (TempDir::new(), TempDir::with("path", &format!("{FIRST}\n")));
    // Nobody looks by himself.
    let args = ["--tls-path-file", &file(&directory), "--log=trace", "--log-format=json"];
    let server = Server::start_slow(inventory.path(), &args);
    for hook in ["/validate", "/mutate"] {
        assert_eq!(status(&server, hook), 200, "who is not known is answered, too");
        assert_eq!(status(&server, &format!("{hook}/{FIRST}")), 200);
        assert_eq!(status(&server, &format!("{hook}/{FIRST}?timeout=3s")), 200);
        for other in [THIRD, &FIRST[1..], &FIRST.to_uppercase(), &format!("{FIRST}/more"), "more"] {
            assert_eq!(status(&server, &format!("{hook}/{other}")), 503, "{other}");
        }
    }
    directory.write("path", format!("{SECOND}\n{FIRST}\n"));
    wait_for("the file to be read again", || {
        (status(&server, &format!("/validate/{SECOND}")) == 200).then_some(())
    });
    assert_eq!(status(&server, &format!("/validate/{FIRST}")), 200);

    // A bad file is told once, without what is in it, and leaves the last good one.
    directory.write("path", format!("{THIRD}x"));
    wait_for("the bad file", || {
        assert_eq!(status(&server, &format!("/validate/{THIRD}")), 503);
        (server.metric("isthmus_certificate_errors_total")? > 0.0).then_some(())
    });
    server.wait_logged("it must contain 32 lower-case hexadecimal digits per line");
    assert_eq!(status(&server, &format!("/validate/{SECOND}")), 200);
    let told = server.logged() + &server.printed() + &server.admin("/metrics").text();
    for path in [FIRST, SECOND, THIRD] {
        assert!(!told.contains(path), "a path is told");
    }
}

#[test]
fn an_unusable_path_is_reported_at_startup() {
    let directory = TempDir::with("path", &FIRST.to_uppercase());
    let run = |args: &[&str]| -> Output { command(directory.path()).args(args).output().unwrap() };
    let serve = ["serve", "--inventory=.", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
    for (file, why) in [("path", "path: it must contain 32"), ("none", "none: No such file")] {
        for command in [&serve[..], &["webhooks"]] {
            let flag = if command.len() == 1 { "--path-file" } else { "--tls-path-file" };
            let output = run(&[command, &[flag, file]].concat());
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains(why), "{told}");
        }
    }
    let output = run(&["serve", "--tls-path-file=path", "--tls-secret=a/b", "--tls-names=x"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot be used with"), "{told}");
}

#[test]
fn the_registration_names_the_path_or_leaves_it_out() {
    let directory = TempDir::with("path", &format!("{FIRST}\n{SECOND}\n"));
    let print = |args: &[&str]| {
        let output = command(directory.path()).arg("webhooks").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let paths = |text: &str, hook: &str| text.matches(hook).count();
    let plain = print(&[]);
    let named = print(&["--path-file=path"]);
    for hook in ["validate", "mutate"] {
        let (was, is) = (format!("path: \"/{hook}\"\n"), format!("path: \"/{hook}/{FIRST}\"\n"));
        assert!(paths(&plain, &was) > 0);
        assert_eq!(paths(&named, &is), paths(&plain, &was));
        let url = print(&["--path-file=path", "--url=https://192.0.2.1:8443/"]);
        let is = format!("url: \"https://192.0.2.1:8443/{hook}/{FIRST}\"\n");
        assert_eq!(paths(&url, &is), paths(&plain, &was));
    }
    assert!(!print(&["--no-path"]).contains("path:"));
}
