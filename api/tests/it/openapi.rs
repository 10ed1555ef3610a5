//! The whole HTTP contract: every change of it changes the snapshot.

use hamro_api::http::problem::ProblemCode;
use hamro_api::router::openapi;
use serde_json::{Value, json};

#[test]
fn the_openapi_document_matches_the_snapshot() {
    insta::assert_json_snapshot!(openapi());
}

/// Whether a tool can show a value of this schema: the schema, or each of its parts, has an example.
fn has_example(schema: &Value, document: &Value) -> bool {
    let resolve = |reference: &Value| {
        let name = reference.as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
        has_example(&document["components"]["schemas"][name], document)
    };
    let all = |schemas: &Value| {
        schemas.as_array().is_some_and(|schemas| {
            schemas.iter().all(|schema| schema["type"] == "null" || has_example(schema, document))
        })
    };
    let properties = schema["properties"].as_object();
    schema.get("example").is_some()
        || schema.get("examples").is_some()
        || schema.get("enum").is_some()
        || schema["type"] == "boolean"
        || schema.get("$ref").is_some_and(resolve)
        || schema.get("allOf").or(schema.get("oneOf")).or(schema.get("anyOf")).is_some_and(all)
        || schema.get("items").is_some_and(|items| has_example(items, document))
        || properties.is_some_and(|properties| properties.values().all(|part| has_example(part, document)))
}

#[test]
fn every_body_in_the_document_has_an_example() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut without = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let request = [("request".to_owned(), &operation["requestBody"])];
            let responses = operation["responses"].as_object().unwrap();
            let responses = responses.iter().map(|(status, response)| (status.clone(), response));
            for (name, body) in request.into_iter().chain(responses) {
                for content in body["content"].as_object().into_iter().flat_map(|content| content.values()) {
                    let has_examples = content.get("example").or(content.get("examples")).is_some();
                    if !has_examples && !has_example(&content["schema"], &document) {
                        without.push(format!("{method} {path} {name}"));
                    }
                }
            }
        }
    }
    assert_eq!(without, Vec::<String>::new());
}

fn document() -> Value {
    serde_json::to_value(openapi()).expect("is JSON")
}

/// All operations, as pairs of a name such as `get /concerts` and the operation.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().into_iter().flatten();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

/// Each operation states its security. Without this test, an operation that states none would be public by accident.
#[test]
fn an_operation_is_public_or_needs_the_admin_token() {
    let document = document();
    assert!(operations(&document).len() > 20);
    for (name, operation) in operations(&document) {
        let security = &operation["security"];
        let is_public = name.starts_with("get ") || name.contains(" /ticket-bookings");
        let is_write = !is_public || name.ends_with("/release");
        let responds_401 = operation["responses"].get("401").is_some();
        if is_write {
            assert_eq!(*security, json!([{"adminToken": []}]), "{name}");
        } else {
            assert!(
                *security == json!([]) || *security == json!([{}, {"adminToken": []}]),
                "{name}: {security}"
            );
        }
        assert_eq!(*security != json!([]), responds_401, "{name}");
    }
}

#[test]
fn every_parameter_in_the_document_has_a_description_and_an_example() {
    let document = document();
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let has = |member: &str| parameter.get(member).is_some();
            assert!(has("description") && has("example"), "{name}: {parameter}");
        }
    }
}

#[test]
fn every_problem_code_is_shown_by_an_operation() {
    let document = document().to_string();
    // The response to an unknown method belongs to no operation, a rejection that only a newer worker knows has no example, and
    // the endpoints of operators are not in the document.
    let others = ["method-not-allowed", "rejected", "already-decided"];
    for code in ProblemCode::ALL.iter().filter(|code| !others.contains(&code.as_str())) {
        assert!(document.contains(&format!("\"{}\":{{\"summary\"", code.as_str())), "{code:?}");
    }
}

/// Generated clients would otherwise have a second type for an entity.
#[test]
fn a_list_in_the_document_refers_to_the_schema_of_its_items() {
    let document = document();
    let mut lists = Vec::new();
    collect_arrays(&document, "", &mut lists);
    assert!(lists.len() > 10, "{lists:?}");
    let inlined: Vec<_> = lists.iter().filter(|(_, items)| items.get("properties").is_some()).collect();
    assert!(inlined.is_empty(), "{inlined:#?}");
}

fn collect_arrays(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    if value["type"] == "array" {
        found.push((path.to_owned(), value["items"].clone()));
    }
    let members = value.as_object().into_iter().flatten().map(|(name, member)| (name.clone(), member));
    let elements = value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, element)| (index.to_string(), element));
    for (name, member) in members.chain(elements) {
        collect_arrays(member, &format!("{path}/{name}"), found);
    }
}

/// OpenAPI 3.1 has no word for the events of a stream, so each kind of event is a schema.
#[test]
fn the_events_of_a_stream_are_described_with_their_data() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (event, name, data) in [
        ("TicketEvent", "status", "TicketStatus"),
        ("SeatsSnapshotEvent", "snapshot", "SeatsSnapshot"),
        ("CatalogueEvent", "catalogue", "CatalogueVersion"),
        ("SeatsChangeEvent", "change", "SeatsChange"),
    ] {
        let properties = &schemas[event]["properties"];
        assert_eq!(properties["event"]["enum"], json!([name]));
        assert_eq!(properties["data"]["contentSchema"]["$ref"], format!("#/components/schemas/{data}"));
        assert!(schemas[data].is_object(), "{data}");
        assert!(schemas[event]["description"].is_string(), "{event}");
        let example: Value =
            serde_json::from_str(schemas[event]["examples"][0]["data"].as_str().unwrap()).unwrap();
        assert!(example.is_object());
    }
    let streams: Vec<_> = operations(&document)
        .into_iter()
        .filter_map(|(name, operation)| {
            let content = operation["responses"]["200"]["content"].get("text/event-stream")?;
            Some((name, content["schema"]["$ref"].clone()))
        })
        .collect();
    assert_eq!(
        streams,
        [
            ("get /seats/concert/{concertId}/events".to_owned(), json!("#/components/schemas/SeatsEvent")),
            ("get /ticket-bookings/{ticketId}/events".to_owned(), json!("#/components/schemas/TicketEvent")),
        ]
    );
}

/// Statuses are an open set. A generated client refuses to read an unknown value of an enumeration.
#[test]
fn no_response_has_a_closed_set_of_values() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        // The names of events are constants of their kind.
        if !name.ends_with("Event") {
            assert!(!schema.to_string().contains("\"enum\""), "{name}: {schema}");
        }
    }
}
