//! The contract only grows: what a released version promised holds in all later ones. docs/COMPATIBILITY.md states the
//! policy.
//!
//! `released/` has one list of promises per released version. `UPDATE_CONTRACT=1` writes the list of this version.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hamro_api::http::problem::PROBLEM_JSON;
use hamro_api::router::openapi;
use serde_json::Value;

const RELEASED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/released");

/// One line per promise that the document makes:
///
/// ```text
/// operation get /concerts list_concerts
/// accepts get /concerts query limit
/// requires post /concerts body title
/// returns get /concerts 200 data[].id string        always present
/// may return get /concerts 200 data[].test boolean
/// ```
fn promises(document: &Value) -> BTreeSet<String> {
    let mut promises = Promises { document, lines: BTreeSet::new() };
    for (path, operations) in members(&document["paths"]) {
        for (method, operation) in members(operations) {
            promises.read_operation(&format!("{method} {path}"), operation);
        }
    }
    promises.lines
}

struct Promises<'a> {
    document: &'a Value,
    lines: BTreeSet<String>,
}

impl Promises<'_> {
    fn read_operation(&mut self, name: &str, operation: &Value) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        self.lines.insert(format!("operation {name} {id}"));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let [place, parameter_name] =
                ["in", "name"].map(|member| parameter[member].as_str().unwrap_or_default());
            self.lines.insert(format!("accepts {name} {place} {parameter_name}"));
            if parameter["required"] == true {
                self.lines.insert(format!("requires {name} {place} {parameter_name}"));
            }
        }
        for (_, content) in members(&operation["requestBody"]["content"]) {
            let verbs = ["accepts", "requires"];
            self.read_schema(&format!("{name} body"), "", &content["schema"], verbs, true, 0);
        }
        for (status, response) in members(&operation["responses"]) {
            self.lines.insert(format!("responds {name} {status}"));
            for (header, _) in members(&response["headers"]) {
                self.lines.insert(format!("header {name} {status} {header}"));
            }
            for (media_type, content) in members(&response["content"]) {
                let place = format!("{name} {status}");
                self.lines.insert(format!("media type {place} {media_type}"));
                // All problems are of one type, which is listed once.
                let place = if media_type == PROBLEM_JSON { "problem" } else { &place };
                self.read_schema(place, "", &content["schema"], ["may return", "returns"], true, 0);
            }
        }
    }

    /// Adds the fields of a schema. `verbs` name an optional and a required one.
    fn read_schema(
        &mut self,
        place: &str,
        field: &str,
        schema: &Value,
        verbs: [&str; 2],
        is_required: bool,
        depth: usize,
    ) {
        assert!(depth < 30, "{place} {field} has no end");
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let target = &self.document["components"]["schemas"][name];
            self.read_schema(place, field, target, verbs, is_required, depth + 1);
            return;
        }
        for parts in ["allOf", "oneOf", "anyOf"] {
            for part in schema[parts].as_array().into_iter().flatten() {
                let always = is_required && parts == "allOf";
                self.read_schema(place, field, part, verbs, always, depth + 1);
            }
        }
        let kind = kind(schema);
        if !field.is_empty() && !kind.is_empty() {
            // A request that has a field must still be accepted, and a field that is always there must stay.
            if is_required {
                self.lines.insert(format!("{} {place} {field} {kind}", verbs[1]));
            }
            if !is_required || verbs[0] == "accepts" {
                self.lines.insert(format!("{} {place} {field} {kind}", verbs[0]));
            }
        }
        if schema.get("items").is_some() {
            self.read_schema(place, &format!("{field}[]"), &schema["items"], verbs, is_required, depth + 1);
        }
        let required = schema["required"].as_array();
        for (name, property) in members(&schema["properties"]) {
            let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
            let always =
                is_required && required.is_some_and(|required| required.contains(&name.as_str().into()));
            self.read_schema(place, &path, property, verbs, always, depth + 1);
        }
        if schema.get("contentSchema").is_some() {
            self.read_schema(place, field, &schema["contentSchema"], verbs, is_required, depth + 1);
        }
    }
}

/// The types of a value, such as `string|null`.
fn kind(schema: &Value) -> String {
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        _ => String::new(),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// What of the released promises does not hold any more.
fn broken(released: &BTreeSet<String>, current: &BTreeSet<String>) -> Vec<String> {
    let kept = |line: &String| {
        let always = line.strip_prefix("may ").map(|line| line.replacen("return ", "returns ", 1));
        current.contains(line) || always.is_some_and(|line| current.contains(&line))
    };
    // A request may need less than before, but not more.
    let removed = released.iter().filter(|line| !line.starts_with("requires ") && !kept(line));
    let removed = removed.map(|line| format!("no longer: {line}"));
    let operations: Vec<String> = released
        .iter()
        .filter_map(|line| line.strip_prefix("operation ")?.rsplit_once(' '))
        .map(|(operation, _)| format!("requires {operation} "))
        .collect();
    let added = current
        .difference(released)
        .filter(|line| operations.iter().any(|operation| line.starts_with(operation.as_str())));
    removed.chain(added.map(|line| format!("new: {line}"))).collect()
}

fn read_lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_a_released_version_promised_still_holds() {
    let current = promises(&serde_json::to_value(openapi()).unwrap());
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting of the programs")]
    if std::env::var("UPDATE_CONTRACT").is_ok() {
        let path = Path::new(RELEASED).join(concat!(env!("CARGO_PKG_VERSION"), ".txt"));
        let lines: Vec<_> = current.iter().map(String::as_str).collect();
        fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    let mut versions = 0;
    for file in fs::read_dir(RELEASED).unwrap() {
        let path = file.unwrap().path();
        let released = read_lines(&fs::read_to_string(&path).unwrap());
        assert!(released.len() > 300, "{} promises little", path.display());
        let broken = broken(&released, &current);
        assert!(broken.is_empty(), "{} promised more:\n{}", path.display(), broken.join("\n"));
        versions += 1;
    }
    assert!(versions > 0);
}

#[test]
fn a_contract_may_grow_but_not_shrink() {
    let released = read_lines(
        "operation put /x update_x\naccepts put /x body a string\naccepts put /x body b string\n\
         requires put /x body a string\nreturns put /x 200 id integer\nmay return put /x 200 note string",
    );
    let changed = |from: &str, to: &str| {
        let lines: Vec<_> = released.iter().map(|line| if line == from { to } else { line }).collect();
        broken(&released, &read_lines(&lines.join("\n")))
    };
    let grown = read_lines("operation get /y get_y\nrequires get /y path id\nreturns put /x 200 more string");
    let grown: BTreeSet<String> = released.union(&grown).cloned().collect();
    assert_eq!(broken(&released, &grown), Vec::<String>::new());
    for (from, to) in [
        ("requires put /x body a string", ""),
        ("may return put /x 200 note string", "returns put /x 200 note string"),
    ] {
        assert_eq!(changed(from, to), Vec::<String>::new(), "{to}");
    }
    for (from, to) in [
        ("operation put /x update_x", "operation put /x change_x"),
        ("accepts put /x body b string", ""),
        ("returns put /x 200 id integer", "may return put /x 200 id integer"),
        ("returns put /x 200 id integer", "returns put /x 200 id string"),
        ("may return put /x 200 note string", ""),
    ] {
        assert_eq!(changed(from, to), [format!("no longer: {from}")], "{to}");
    }
    let stricter = released.union(&read_lines("requires put /x body b string")).cloned().collect();
    assert_eq!(broken(&released, &stricter), ["new: requires put /x body b string"]);
}
