//! The whole HTTP contract: every change of it changes the snapshot.

use hamro_api::router::openapi;
use serde_json::Value;

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
