//! Bodies that mean no good: each gets its right answer, and none an end of the server.

use serde_json::{Value as Json, json};

use crate::support::objects::{self, review};
use crate::support::process::Server;
use crate::support::{TempDir, peer};

fn server() -> (Server, TempDir) {
    let inventory = TempDir::new();
    (Server::start(inventory.path(), &[]), inventory)
}

fn good() -> Json {
    peer("peer", "https://istio.example.com/metadata/")
}

/// The good review with one place changed.
fn with(pointer: &str, value: Json) -> Json {
    let mut review = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    review
}

fn without(pointer: &str) -> Json {
    let mut review = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    review
}

#[test]
fn a_body_that_is_not_a_review_is_a_bad_request() {
    let (server, _inventory) = server();
    let text = good().to_string();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b"".to_vec()),
        ("not JSON", b"apiVersion: admission.k8s.io/v1".to_vec()),
        ("a text", b"\"review\"".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("truncated", text.as_bytes()[..text.len() - 1].to_vec()),
        ("half", text.as_bytes()[..text.len() / 2].to_vec()),
        ("something after it", format!("{text}{text}").into_bytes()),
        (
            "not UTF-8",
            text.replace("jane", "\u{0}")
                .into_bytes()
                .into_iter()
                .map(|b| if b == 0 { 0xff } else { b })
                .collect(),
        ),
        ("a raw control character", text.replace("jane", "ja\u{1}ne").into_bytes()),
        ("UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "an older version",
            with("/apiVersion", json!("admission.k8s.io/v1beta1")).to_string().into(),
        ),
        ("another kind", with("/kind", json!("ConversionReview")).to_string().into()),
        ("a number for a kind", with("/kind", json!(7)).to_string().into()),
        ("no version", without("/apiVersion").to_string().into()),
        ("no request", without("/request").to_string().into()),
        ("request null", with("/request", Json::Null).to_string().into()),
        ("request a list", with("/request", json!([])).to_string().into()),
        ("no uid", without("/request/uid").to_string().into()),
        ("uid null", with("/request/uid", Json::Null).to_string().into()),
        ("uid empty", with("/request/uid", json!("")).to_string().into()),
        ("uid a number", with("/request/uid", json!(7)).to_string().into()),
        ("a key twice", text.replacen("\"uid\"", "\"uid\":\"x\",\"uid\"", 1).into()),
        ("deep nesting", "[".repeat(8 << 20).into()),
        ("deep nesting of objects", "{\"a\":".repeat(1 << 20).into()),
        ("8 MiB of zeros", vec![0; 8 << 20]),
        ("8 MiB of spaces", vec![b' '; 8 << 20]),
        ("8 MiB of digits", vec![b'9'; 8 << 20]),
        ("8 MiB of one text", format!("\"{}\"", "a".repeat((8 << 20) - 2)).into()),
    ];
    for (what, body) in cases {
        for path in ["/validate", "/mutate"] {
            let answer = server.client().post(path, &body);
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert!(answer.text().len() > 10, "{what} is told why");
            assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{what}");
        }
    }
    assert!(server.allows(&good()));
    assert_eq!(server.metric("isthmus_panics_total"), Some(0.0));
}

#[test]
fn an_unreadable_object_is_denied_with_its_uid() {
    let (server, _inventory) = server();
    let secret = |value: Json| {
        let data = json!({"cluster-configuration.yaml": value});
        let object = objects::secret("kube-system", "d8-cluster-configuration", data);
        review(None, &object)
    };
    let yaml = |text: &str| {
        use base64::Engine;
        secret(json!(base64::engine::general_purpose::STANDARD.encode(text)))
    };
    let bomb = (1..=9).fold(String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n"), |bomb, n| {
        let inner = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb + &format!("a{n}: &a{n} [{inner}]\n")
    });
    let deep = {
        let nested = "[".repeat(1000) + &"]".repeat(1000);
        good().to_string().replace("\"spec\":{", &format!("\"spec\":{{\"deep\":{nested},"))
    };
    let cases: Vec<(&str, String)> = vec![
        ("no object", without("/request/object").to_string()),
        ("object null", with("/request/object", Json::Null).to_string()),
        ("object a list", with("/request/object", json!([])).to_string()),
        ("object a text", with("/request/object", json!("x")).to_string()),
        ("another kind than announced", with("/request/object/kind", json!("Secret")).to_string()),
        (
            "another version than announced",
            with("/request/object/apiVersion", json!("deckhouse.io/v2")).to_string(),
        ),
        ("metadata a list", with("/request/object/metadata", json!([])).to_string()),
        ("a name of another type", with("/request/object/metadata/name", json!({})).to_string()),
        ("spec a text", with("/request/object/spec", json!("x")).to_string()),
        ("spec a list", with("/request/object/spec", json!([1])).to_string()),
        (
            "a number where a text is",
            with("/request/object/spec/metadataEndpoint", json!(7)).to_string(),
        ),
        (
            "a huge number where a text is",
            good()
                .to_string()
                .replace("\"https://istio.example.com/metadata/\"", &"9".repeat(100_000)),
        ),
        (
            "a text where a boolean is",
            with("/request/object/spec/enableIngressGateway", json!("yes")).to_string(),
        ),
        (
            "a key twice",
            good().to_string().replace(
                "\"enableIngressGateway\"",
                "\"enableIngressGateway\":true,\"enableIngressGateway\"",
            ),
        ),
        ("deep nesting", deep),
        ("no base64", secret(json!("%%%")).to_string()),
        ("data a number", secret(json!(7)).to_string()),
        ("no UTF-8 in base64", secret(json!("//79")).to_string()),
        ("no YAML in base64", yaml("a: [").to_string()),
        ("an alias bomb", yaml(&bomb).to_string()),
        (
            "a key twice in YAML",
            yaml("kind: ClusterConfiguration\nkind: ClusterConfiguration\n").to_string(),
        ),
        (
            "a second YAML document",
            yaml("kind: ClusterConfiguration\n---\nkind: ClusterConfiguration\n").to_string(),
        ),
        ("deep YAML", yaml(&"[".repeat(10_000)).to_string()),
    ];
    for (what, body) in cases {
        let answer = server.client().post("/validate", &body);
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let response = answer.response();
        assert_eq!(response["allowed"], false, "{what}: {response}");
        assert_eq!(response["uid"], "5a2c7d0e-0000-4000-8000-000000000001", "{what}");
        assert_eq!(response["status"]["code"], 422, "{what}");
        assert_eq!(response["status"]["reason"], "Invalid", "{what}");
        let text = response.to_string();
        assert!(!text.contains("\\u00"), "{what}: no control characters in {text}");
        let mutated = server.client().post("/mutate", &body);
        assert_eq!(mutated.status, 200, "{what}: {}", mutated.text());
    }
    assert_eq!(server.metric("isthmus_panics_total"), Some(0.0));
}

#[test]
fn odd_but_valid_reviews_are_answered_as_usual() {
    let (server, _inventory) = server();
    let text = good().to_string();
    let crlf = serde_json::to_string_pretty(&good()).unwrap().replace('\n', "\r\n");
    let cases: Vec<(&str, String)> = vec![
        ("a BOM", format!("\u{feff}{text}")),
        ("CRLF", crlf),
        ("spaces around", format!("\r\n\t {text}\r\n\r\n")),
        ("escapes", text.replace("jane", "\\u006aane")),
        ("unknown fields", with("/request/more", json!({"a": [1, 2, {"b": null}]})).to_string()),
        ("huge numbers elsewhere", text.replace("\"dryRun\":false", "\"dryRun\":false,\"x\":1e999999")),
        ("no operation is no write", without("/request/operation").to_string()),
        ("a name with NUL", with("/request/name", json!("a\u{0}b\r\n\u{1b}[31m")).to_string()),
        ("a user with NUL", with("/request/userInfo/username", json!("a\u{0}\r\nb")).to_string()),
        ("no user", without("/request/userInfo").to_string()),
        ("8 MiB of one annotation", with("/request/object/metadata/annotations", json!({"a": "x".repeat((8 << 20) - 1024)})).to_string()),
        ("8 MiB of labels", with("/request/object/metadata/labels", Json::Object((0..400_000).map(|n| (format!("l{n}"), json!("x"))).collect())).to_string()),
        ("a delete without an object", json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": "5a2c7d0e-0000-4000-8000-000000000001", "operation": "DELETE", "object": null},
        }).to_string()),
    ];
    for (what, body) in cases {
        assert!(body.len() <= 8 << 20, "{what}");
        let response = server.client().post("/validate", &body).response();
        assert_eq!(response["allowed"], true, "{what}: {response}");
        assert_eq!(response["uid"], "5a2c7d0e-0000-4000-8000-000000000001", "{what}");
    }
    assert_eq!(server.metric("isthmus_panics_total"), Some(0.0));
    for line in server.log_lines() {
        assert!(line.to_string().len() < 2048, "log lines are short");
    }
}

#[test]
fn names_with_control_characters_come_back_without_them() {
    let (server, _inventory) = server();
    let mut review = peer("a\u{0}b\r\n\u{1b}[31m", "http://x/\u{7}");
    review["request"]["object"]["metadata"]["annotations"] = json!({"isthmus.dev/cluster-domain": "a\nb", "isthmus.dev/pod-subnet-cidr": "10.0.0.0/8\t\u{0}"});
    let response = server.review("/validate", &review);
    assert_eq!(response["allowed"], false);
    let status = response["status"]["message"].as_str().unwrap();
    assert!(!status.contains(char::is_control), "{status}");
    for cause in response["status"]["details"]["causes"].as_array().unwrap() {
        assert!(!cause["message"].as_str().unwrap().contains(char::is_control), "{cause}");
    }
    for warning in response["warnings"].as_array().into_iter().flatten() {
        assert!(!warning.as_str().unwrap().contains(char::is_control), "{warning}");
    }
}

#[test]
fn reading_a_body_takes_little_memory_beside_it() {
    let peak = |body: String| {
        let (server, _inventory) = server();
        assert_eq!(server.client().post("/validate", &body).status, 200);
        server.peak()
    };
    let text = "x".repeat((8 << 20) - 2048);
    let sound = with("/request/object/metadata/annotations", json!({"a": text})).to_string();
    // Four fields that are read, each as large as one may be.
    let list = format!("[{}1]", "1,".repeat((1 << 20) - 512));
    let fields = ["clusterDomain", "podSubnetCIDR", "podSubnetNodeCIDRPrefix", "serviceSubnetCIDR"];
    let lists: Vec<_> = fields.iter().map(|field| format!("\"{field}\":{list}")).collect();
    let object = json!({
        "apiVersion": "deckhouse.io/v1", "kind": "ClusterConfiguration", "metadata": {"name": "a"},
    });
    let hostile = review(None, &object).to_string();
    let metadata = "\"metadata\":{\"name\":\"a\"}";
    assert!(hostile.contains(metadata));
    let hostile = hostile.replace(metadata, &format!("{metadata},{}", lists.join(",")));
    assert!(hostile.len() > 7 << 20);
    let (sound, hostile) = (peak(sound), peak(hostile));
    assert!(hostile < 3 * sound, "{hostile} KiB, and {sound} KiB of text as large");
}
