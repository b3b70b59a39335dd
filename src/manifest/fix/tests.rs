use proptest::prelude::*;

use super::*;

fn fixed(text: &str) -> Fixed {
    fix(text, "file.yaml", &Settings::default()).unwrap()
}

/// An IstioMulticluster with this spec, and what its spec becomes.
fn check_spec(spec: &str, expected: &str) {
    let start =
        "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata:\n  name: a # b\n";
    let fixed = fixed(&format!("{start}{spec}"));
    assert_eq!(fixed.text, format!("{start}{expected}"));
    assert!(fixed.left.is_empty(), "{:?}", fixed.left);
}

#[test]
fn edits_specs_in_their_own_style() {
    const CASES: &[(&str, &str)] = &[
        // Already canonical.
        (
            "spec:\n  metadataEndpoint: https://x.y/metadata/\n  enableIngressGateway: false\n",
            "spec:\n  metadataEndpoint: https://x.y/metadata/\n  enableIngressGateway: false\n",
        ),
        // Block style, with a comment, and with no end of line at all.
        (
            "spec:\n  metadataEndpoint: HTTPS://x.y/metadata  # c\n# end\n",
            "spec:\n  metadataEndpoint: https://x.y/metadata/  # c\n  enableIngressGateway: true\n# end\n",
        ),
        (
            "spec:\n    metadataEndpoint: 'https://x.y:443/metadata/'",
            "spec:\n    metadataEndpoint: 'https://x.y/metadata/'\n    enableIngressGateway: true",
        ),
        (
            "spec:\r\n  metadataEndpoint: \"https://x.y//metadata/\"\r\n---\r\n",
            "spec:\r\n  metadataEndpoint: \"https://x.y/metadata/\"\r\n  enableIngressGateway: true\r\n---\r\n",
        ),
        (
            "spec:\n  metadataEndpoint:\n    https://x.y/metadata/\n",
            "spec:\n  enableIngressGateway: true\n  metadataEndpoint:\n    https://x.y/metadata/\n",
        ),
        // Nulls of every kind.
        (
            "spec:\n  enableIngressGateway:  # unset\n  metadataEndpoint: https://x.y/metadata/\n",
            "spec:\n  enableIngressGateway: true  # unset\n  metadataEndpoint: https://x.y/metadata/\n",
        ),
        (
            "spec: {metadataEndpoint: 'https://x.y/metadata/', enableIngressGateway: ~}\n",
            "spec: {metadataEndpoint: 'https://x.y/metadata/', enableIngressGateway: true}\n",
        ),
        // Flow style.
        (
            "spec: {metadataEndpoint: \"https://x.y/metadata\" } # c\n",
            "spec: {metadataEndpoint: \"https://x.y/metadata/\", enableIngressGateway: true } # c\n",
        ),
        (
            "spec: {\"metadataEndpoint\":\"https://x.y/metadata\"}\n",
            "spec: {\"metadataEndpoint\":\"https://x.y/metadata/\",\"enableIngressGateway\":true}\n",
        ),
        (
            "spec: {\n  \"metadataEndpoint\": \"https://x.y/metadata/\",\n  \"z\": [{}, 1]\n  }\n",
            "spec: {\n  \"metadataEndpoint\": \"https://x.y/metadata/\",\n  \"z\": [{}, 1],\n  \"enableIngressGateway\": true\n  }\n",
        ),
        ("spec: {}\n", "spec: {\"enableIngressGateway\": true}\n"),
        // An anchor that nothing refers to.
        (
            "spec: &s\n  metadataEndpoint: &e https://x.y/metadata\n",
            "spec: &s\n  metadataEndpoint: &e https://x.y/metadata/\n  enableIngressGateway: true\n",
        ),
    ];
    for (spec, expected) in CASES {
        check_spec(spec, expected);
    }
}

#[test]
fn fixes_a_whole_json_file() {
    let text = "{\n\t\"apiVersion\": \"deckhouse.io/v1alpha1\",\n\t\"kind\": \"IstioMulticluster\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": {\"metadataEndpoint\": \"https://x.y/metadata\"}\n}\n";
    let expected = text.replace(
        "https://x.y/metadata\"",
        "https://x.y/metadata/\", \"enableIngressGateway\": true",
    );
    assert_eq!(fixed(text).text, expected);
}

#[test]
fn quotes_what_would_be_a_number() {
    let text = "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {name: a}\nclusterType: Static\npodSubnetCIDR: 10.0.0.0/16\n";
    let fixed = fixed(text);
    assert_eq!(
        fixed.text,
        "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {name: a}\nclusterType: Static\nclusterDomain: cluster.local\npodSubnetCIDR: 10.0.0.0/16\npodSubnetNodeCIDRPrefix: \"24\"\n"
    );
    let told: Vec<_> =
        fixed.changes.iter().map(|c| (&*c.field, &fixed.text[c.at..][..5])).collect();
    assert_eq!(told, [("clusterDomain", "clust"), ("podSubnetNodeCIDRPrefix", "podSu")]);
}

#[test]
fn keeps_lists_and_all_else() {
    let text = "kind: List\nitems:\n- apiVersion: deckhouse.io/v1alpha1\n  kind: IstioMulticluster\n  metadata: {name: a}\n  spec:\n    metadataEndpoint: https://x.y/metadata\n- kind: ConfigMap\n  data: {a: |-\n    x}\n";
    let text =
        text.replace("data: {a: |-\n    x}", "data:\n    a: |-\n      x: https://x.y/metadata");
    let expected = text.replacen("/metadata\n", "/metadata/\n    enableIngressGateway: true\n", 1);
    assert_eq!(fixed(&text).text, expected);
}

#[test]
fn leaves_alone_what_cannot_be_edited() {
    const CASES: &[&str] = &[
        "x: &e https://x.y/metadata\nspec: {metadataEndpoint: *e, enableIngressGateway: true}\n",
        "spec: {metadataEndpoint: &e https://x.y/metadata, enableIngressGateway: true}\nx: *e\n",
        "x: &s {metadataEndpoint: https://x.y/metadata}\nspec: *s\n",
        "spec:\n  metadataEndpoint: >-\n    https://x.y/metadata\n  enableIngressGateway: true\n",
        "spec:\n  metadataEndpoint: \"https://x.y/\\\n    metadata\"\n  enableIngressGateway: true\n",
        "x: &b {metadataEndpoint: https://x.y/metadata}\nspec:\n  <<: *b\n  enableIngressGateway: true\n",
        "spec: {metadataEndpoint: https://x.y/metadata/, z: [1 # ]\n  ]}\n",
    ];
    let object = |name: &str, spec: &str| {
        format!(
            "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {{name: {name}}}\n{spec}---\n"
        )
    };
    for spec in CASES {
        let good = object("good", "spec: {metadataEndpoint: https://x.y/metadata/}\n");
        let text = format!("{}{good}", object("bad", spec));
        let fixed = fixed(&text);
        let good_fixed = good.replace("/}", "/, enableIngressGateway: true}");
        assert_eq!(fixed.text, format!("{}{good_fixed}", object("bad", spec)));
        let left: Vec<_> = fixed.left.iter().map(|left| (left.index, &*left.object.name)).collect();
        assert_eq!(left, [(0, "bad")], "{spec}");
    }
}

#[test]
fn keeps_what_is_merged_in() {
    let text = "x: &b {enableIngressGateway: false}\napiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {name: a}\nspec:\n  <<: *b\n  metadataEndpoint: https://x.y/metadata\n";
    assert_eq!(fixed(text).text, text.replace("/metadata\n", "/metadata/\n"));
}

#[test]
fn never_touches_what_is_carried() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: isthmus, labels: {isthmus.dev/member: a}}\ndata:\n  cluster-configuration.yaml: |\n    apiVersion: deckhouse.io/v1\n    kind: ClusterConfiguration\n    podSubnetCIDR: 10.0.0.0/16\n";
    assert_eq!(fixed(text).text, text);
}

fn scalars() -> impl Strategy<Value = String> {
    let endpoint = prop_oneof![
        Just("https://x.y/metadata"),
        Just("https://X.y//metadata/"),
        Just("HTTPS://x.y:443/metadata/"),
        Just("https://x.y/metadata/"),
        Just("ftp://x.y"),
        Just("https://x.y/a b/"),
    ];
    let style =
        prop_oneof![Just(("", "")), Just(("\"", "\"")), Just(("'", "'")), Just(("&a ", ""))];
    (endpoint, style).prop_map(|(text, (open, close))| format!("{open}{text}{close}"))
}

fn objects() -> impl Strategy<Value = String> {
    let gateway = prop_oneof![Just(""), Just("true"), Just("false"), Just("~"), Just("null # c")];
    let list = prop_oneof![Just(false), Just(true)];
    (scalars(), gateway, list, 1usize..5, "[#a-z é]{0,8}").prop_map(
        |(endpoint, gateway, in_list, indent, comment)| {
            let by = " ".repeat(indent);
            let gateway = match gateway {
                "" => String::new(),
                value => format!("{by}enableIngressGateway: {value}\n"),
            };
            let object = format!(
                "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata:\n{by}name: a\n# {comment}\nspec:\n{by}metadataEndpoint: {endpoint} # {comment}\n{gateway}"
            );
            if !in_list {
                return object;
            }
            let lines: Vec<_> = object.lines().map(|line| format!("  {line}\n")).collect();
            format!("kind: List\nitems:\n-{}", &lines.concat()[1..])
        },
    )
}

proptest! {
    /// Whatever else stands in a text: the fields become canonical, the rest stays, and a second
    /// run has nothing to do.
    #[test]
    fn changes_the_fields_and_nothing_else(
        objects in prop::collection::vec(objects(), 1..4),
        crlf in any::<bool>(),
    ) {
        let mut text = objects.join("---\n");
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let before = read(&text, "f").unwrap();
        let settings = Settings::default();
        let once = fixed(&text);
        let after = read(&once.text, "f").unwrap();
        prop_assert_eq!(before.len(), after.len());
        prop_assert!(once.left.is_empty(), "{:?}", once.left);
        for (before, after) in before.iter().zip(&after) {
            let mut expected: Json = serde_json::from_str(&before.json).unwrap();
            before.document(&settings).unwrap().canonicalize(&mut expected);
            prop_assert_eq!(expected, serde_json::from_str::<Json>(&after.json).unwrap());
        }
        let comments = |text: &str| -> Vec<String> {
            text.split('\n').filter_map(|l| l.split_once('#').map(|(_, c)| c.to_owned())).collect()
        };
        prop_assert_eq!(comments(&text), comments(&once.text));
        prop_assert_eq!(text.contains('\r'), once.text.contains('\r'));
        let twice = fixed(&once.text);
        prop_assert_eq!(&twice.text, &once.text);
        prop_assert!(twice.changes.is_empty());
    }

    #[test]
    fn never_panics(text in "(kind: IstioMulticluster\\n|apiVersion: deckhouse.io/v1alpha1\\n|spec:|  metadataEndpoint: https://x.y/\\n|[-{}\\[\\]:,&*a|> \\n\"']){0,20}") {
        let _ = fix(&text, "f", &Settings::default());
    }
}
