//! What is told of the settings in the chart and in the documentation follows from their table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use isthmus::settings::{Form, SETTINGS, Setting};
use serde_json::json;

/// What the chart adds to the meaning of a setting, and its own default.
const CHART: [(&str, &str, Option<&str>); 2] = [
    (
        "istioNamespaces",
        "Permission to read one that does not exist yet is granted by the next upgrade.",
        None,
    ),
    ("memberNamespaces", "Empty: the namespace of the release.", Some("")),
];

#[test]
pub(crate) fn values_have_every_setting() {
    let mut section = String::new();
    for setting in SETTINGS {
        let (name, meaning) = (setting.name(), setting.meaning());
        let (note, default) = of_chart(setting);
        let default = default.map_or_else(|| setting.default(), str::to_owned);
        let _ = writeln!(section, "# {}", format!("{meaning} {note}").trim_end());
        let _ = match setting.form {
            Form::Namespaces | Form::Words if default.is_empty() => writeln!(section, "{name}: []"),
            Form::Namespaces | Form::Words => {
                writeln!(section, "{name}:\n  - {}", default.replace(',', "\n  - "))
            }
            _ => writeln!(section, "{name}: {default}"),
        };
    }
    holds("manifests/isthmus/values.yaml", "fullnameOverride: \"\"\n\n", &section, "\ninventory:");
}

#[test]
fn the_schema_knows_what_every_setting_takes() {
    let (mut section, mut required) = (String::new(), String::new());
    for setting in SETTINGS {
        let schema = match setting.form {
            Form::Name => json!({"type": "string"}),
            Form::Namespaces => json!({
                "type": "array",
                "items": {
                    "type": "string",
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                    "maxLength": 63,
                },
                "uniqueItems": true,
            }),
            Form::Words => json!({
                "type": "array",
                "items": {"type": "string", "pattern": "^[-A-Za-z0-9]+$"},
                "uniqueItems": true,
            }),
            Form::Policy(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| choice.as_str()).collect();
                json!({"type": "string", "enum": choices})
            }
            Form::Switch => json!({"type": "boolean"}),
            Form::Duration => json!({"type": "string", "pattern": "^[0-9.]+(ms|s)$"}),
        };
        let pretty = serde_json::to_string_pretty(&schema).unwrap().replace('\n', "\n    ");
        let _ = writeln!(section, "    \"{}\": {pretty},", setting.name());
        if of_chart(setting).1.is_none() {
            let _ = writeln!(required, "    \"{}\",", setting.name());
        }
    }
    let schema = "manifests/isthmus/values.schema.json";
    holds(schema, "    \"image\",\n", &required, "    \"inventory\",\n");
    holds(schema, "      \"maxLength\": 50\n    },\n", &section, "    \"inventory\": {\n");
}

#[test]
fn the_page_on_serving_has_every_setting() {
    let mut table = String::from("| Flag | Default | Meaning |\n|---|---|---|\n");
    for setting in SETTINGS {
        let (flag, default, meaning) = (setting.flag(), setting.default(), setting.meaning());
        let _ = writeln!(table, "| `--{flag}` | `{default}` | {meaning} |");
    }
    holds("docs/serve.md", "work with `check` too:\n\n", &table, "\n## Limits");
}

fn of_chart(setting: &Setting) -> (&'static str, Option<&'static str>) {
    let own = CHART.iter().find(|(name, ..)| *name == setting.name());
    own.map_or(("", None), |(_, note, default)| (note, *default))
}

/// Holds the section of a file between two texts equal; `UPDATE_GOLDEN=1` writes it.
fn holds(path: &str, begin: &str, section: &str, end: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{path}: {begin:?}"));
    let (is, after) = rest.split_once(end).unwrap_or_else(|| panic!("{path}: {end:?}"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, format!("{before}{begin}{section}{end}{after}")).unwrap();
    } else {
        assert_eq!(is, section, "{path}: run `make golden`");
    }
}
