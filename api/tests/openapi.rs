//! The contract as a whole: a change of it shows as a change of this snapshot.

use hamro_api::router::openapi;

#[test]
fn the_openapi_document_is_as_agreed() {
    insta::assert_json_snapshot!(openapi());
}
