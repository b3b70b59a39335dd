//! How the files of `src` import each other: one way between rooms, never two each other, and as
//! ARCHITECTURE.md draws it.
//!
//! A room is a module of the crate's root. What counts is what a file takes of another by `use`, or
//! in place by a path from the root or its parent; what a module re-exports is followed to the file
//! that has it. That a registry lists what is below it does not count, and tests do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::golden::expect;

/// A module by its path from the crate's root.
type Module = Vec<String>;

#[test]
fn no_two_files_import_each_other() {
    let house = House::read();
    let imports = |from: &Module, to: &Module| house.imports[from].contains(to);
    let mut pairs = Vec::new();
    for (from, named) in &house.imports {
        for to in named.iter().filter(|to| *to > from && imports(to, from)) {
            pairs.push([from, to].map(|module| module.join("::")).join(" and "));
        }
    }
    assert!(pairs.is_empty(), "files that import each other:\n{}", pairs.join("\n"));
}

#[test]
fn rooms_import_each_other_one_way_and_as_the_picture_shows() {
    let house = House::read();
    let picture = house.picture();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("a picture");
    let (_, after) = rest.split_once("```\n").expect("the end of the picture");
    expect(&page, &format!("{before}{BEGIN}{picture}```\n{after}"));
}

/// Before the picture.
const BEGIN: &str = "```text\nroom            imports\n";

/// The files and what each imports.
struct House {
    imports: BTreeMap<Module, BTreeSet<Module>>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        let texts: BTreeMap<Module, String> = files
            .iter()
            .map(|file| {
                let text = fs::read_to_string(file).unwrap();
                (module(file.strip_prefix(&root).unwrap()), without_tests(&text))
            })
            .collect();
        assert!(texts.len() > 50, "the files are found");
        let given: BTreeMap<&Module, BTreeMap<String, Module>> =
            texts.iter().map(|(at, text)| (at, re_exports(at, text, &texts))).collect();
        let imports = texts.iter().map(|(at, text)| {
            let named = paths(text).into_iter().filter(|path| !path.is_public);
            let named = named.filter_map(|path| resolve(at, &path.segments, &texts));
            let named = named.filter_map(|(to, item)| follow(to, item, &given));
            (at.clone(), named.filter(|to| to != at).collect())
        });
        Self { imports: imports.collect() }
    }

    /// The rooms, each below those that import it, with what it imports.
    fn picture(&self) -> String {
        let mut rooms = BTreeMap::<&str, BTreeSet<&str>>::new();
        for (from, named) in &self.imports {
            let Some(from) = from.first().filter(|room| *room != "main") else { continue };
            let into = rooms.entry(from).or_default();
            into.extend(named.iter().filter_map(|to| to.first()).map(String::as_str));
            into.remove(from.as_str());
        }
        let mut floors: Vec<Vec<&str>> = Vec::new();
        let mut built = BTreeSet::new();
        while built.len() < rooms.len() {
            let rests = |named: &BTreeSet<&str>| named.iter().all(|room| built.contains(room));
            let floor = rooms.iter().filter(|(room, named)| !built.contains(*room) && rests(named));
            let floor: Vec<_> = floor.map(|(room, _)| *room).collect();
            let left: Vec<_> = rooms.keys().filter(|room| !built.contains(*room)).collect();
            assert!(!floor.is_empty(), "rooms that import each other in a ring, of {left:?}");
            built.extend(floor.iter().copied());
            floors.push(floor);
        }
        let mut picture = String::new();
        for floor in floors.iter().rev() {
            for room in floor {
                let named = rooms[room].iter().copied().collect::<Vec<_>>().join(" ");
                let _ = writeln!(picture, "{}", format!("{room:16}{named}").trim_end());
            }
            picture.push('\n');
        }
        picture.pop();
        picture
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

/// The module that a file is.
fn module(file: &Path) -> Module {
    let file = file.with_extension("");
    let mut parts: Module = file.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// A text as far as it is shipped, without comments.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// A path that a file names.
struct Named {
    segments: Vec<String>,
    /// Whether it is given on to others.
    is_public: bool,
}

/// The paths of a file: those of `use`, and those in place that lead away from it.
fn paths(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut in_place = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = rest[line..at].trim();
        if !(before.is_empty() || before.starts_with("pub")) {
            in_place.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
            continue;
        }
        in_place.push_str(&rest[..line]);
        let (tree, after) = rest[at + 4..].split_once(';').expect("a whole `use`");
        for segments in spread(&tree.split_whitespace().collect::<Vec<_>>().join(" ")) {
            found.push(Named { segments, is_public: !before.is_empty() });
        }
        rest = after;
    }
    in_place.push_str(rest);
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let leads_away = |path: &&str| path.starts_with("crate::") || path.starts_with("super::");
    for path in in_place.split(|c| !is_part(c)).filter(leads_away) {
        let segments = path.split("::").map(str::to_owned).collect();
        found.push(Named { segments, is_public: false });
    }
    found
}

/// The paths of a tree such as `a::{b, c::d}`.
fn spread(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let head: Vec<_> = head
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let list = list.strip_suffix('}').unwrap_or(list);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty()).flat_map(spread);
    parts.map(|part| [head.clone(), part].concat()).collect()
}

/// The module that a path leads into as far as there are files, and what is named of it.
fn resolve(
    at: &Module,
    segments: &[String],
    texts: &BTreeMap<Module, String>,
) -> Option<(Module, Option<String>)> {
    let mut place = at.clone();
    let mut rest = segments;
    match rest.first().map(String::as_str)? {
        "crate" => {
            place.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                place.pop()?;
                rest = &rest[1..];
            }
        }
        child => {
            let below = [&place[..], &[child.to_owned()]].concat();
            texts.get(&below)?;
        }
    }
    while let Some(next) = rest.first() {
        let below = [&place[..], std::slice::from_ref(next)].concat();
        if !texts.contains_key(&below) {
            break;
        }
        place = below;
        rest = &rest[1..];
    }
    Some((place, rest.first().filter(|item| *item != "self").cloned()))
}

/// What a module re-exports, by name, and where each leads.
fn re_exports(
    at: &Module,
    text: &str,
    texts: &BTreeMap<Module, String>,
) -> BTreeMap<String, Module> {
    let public = paths(text).into_iter().filter(|path| path.is_public);
    let places = public.filter_map(|path| {
        let (to, item) = resolve(at, &path.segments, texts)?;
        Some((item?, to))
    });
    places.filter(|(_, to)| to != at).collect()
}

/// The file that has an item: where it is re-exported, where that leads.
fn follow(
    mut to: Module,
    item: Option<String>,
    given: &BTreeMap<&Module, BTreeMap<String, Module>>,
) -> Option<Module> {
    // A module alone is named by those who say what they take of it in place.
    let item = item?;
    while let Some(next) = given.get(&to).and_then(|given| given.get(&item)) {
        to.clone_from(next);
    }
    Some(to)
}
