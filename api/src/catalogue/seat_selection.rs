//! The seats of a concert that a removal selects.

use std::collections::BTreeMap;
use std::str::FromStr;

use hamro_shared::domain::TierId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::extract::FieldErrors;
use crate::http::problem::Problem;

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SeatFilter {
    /// Only seats of this section. Required unless `ticketTierId` is given.
    #[param(
        min_length = 1,
        max_length = 100,
        nullable = false,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        example = "vip"
    )]
    section: Option<String>,
    /// Only rows from this one on. Needs `section` and `lastRow`.
    #[param(value_type = Option<i32>, minimum = 1, nullable = false, example = 2)]
    first_row: Option<String>,
    /// Only rows up to this one, which is `firstRow` for a single row. Needs `firstRow`.
    #[param(value_type = Option<i32>, minimum = 1, nullable = false, example = 3)]
    last_row: Option<String>,
    /// Only seats of this tier.
    #[param(value_type = Option<i32>, nullable = false, example = 2)]
    ticket_tier_id: Option<String>,
    // An unknown parameter, such as a misspelled one, must not select more seats than its author wanted.
    #[serde(flatten)]
    #[param(ignore)]
    unknown: BTreeMap<String, String>,
}

/// A valid selection.
#[derive(Debug, PartialEq, Eq)]
pub struct SeatSelection {
    pub section: Option<String>,
    pub rows: Option<(i32, i32)>,
    pub tier: Option<TierId>,
}

impl SeatFilter {
    pub fn parse(self) -> Result<SeatSelection, Problem> {
        let mut fields = FieldErrors::default();
        for name in self.unknown.keys() {
            fields.wrong(name, "is not a parameter of this request");
        }
        if self.section.is_none() && self.ticket_tier_id.is_none() {
            fields.wrong("section", "is required unless ticketTierId is given");
        }
        let section = match self.section {
            Some(section) => fields.text("section", Some(section), 100).map(Some),
            None => Some(None),
        };
        let row = |text| number(text, "must be the number of a row");
        let first_row = fields.check("firstRow", row(self.first_row));
        let last_row = fields.check("lastRow", row(self.last_row));
        let rows = match (first_row, last_row) {
            (Some(Some(first)), Some(Some(last))) => {
                if last < first {
                    fields.wrong("lastRow", "must not be less than firstRow");
                }
                if section == Some(None) {
                    fields.wrong("firstRow", "must be given together with section");
                }
                Some(Some((first, last)))
            }
            (Some(Some(_)), Some(None)) => {
                fields.wrong("lastRow", "is required with firstRow");
                None
            }
            (Some(None), Some(Some(_))) => {
                fields.wrong("firstRow", "is required with lastRow");
                None
            }
            _ => Some(None),
        };
        let tier = fields.check("ticketTierId", number(self.ticket_tier_id, "must be the id of a tier"));
        let selection =
            (|| Some(SeatSelection { section: section?, rows: rows?, tier: tier?.map(TierId) }))();
        fields.finish(selection)
    }
}

fn number(text: Option<String>, expected: &'static str) -> Result<Option<i32>, &'static str> {
    text.map(|text| i32::from_str(&text).map_err(|_| expected)).transpose()
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn parse(query: &str) -> Result<SeatSelection, String> {
        let uri = format!("/?{query}").parse().unwrap();
        let Query(filter) = Query::<SeatFilter>::try_from_uri(&uri).unwrap();
        filter
            .parse()
            .map_err(|problem| serde_json::to_value(problem.document()).unwrap()["detail"].to_string())
    }

    #[test]
    fn a_selection_names_a_section_or_a_tier() {
        let vip = |rows| SeatSelection { section: Some("vip".to_owned()), rows, tier: None };
        assert_eq!(parse("section=vip"), Ok(vip(None)));
        assert_eq!(parse("section=+vip&firstRow=2&lastRow=3"), Ok(vip(Some((2, 3)))));
        assert_eq!(
            parse("ticketTierId=7"),
            Ok(SeatSelection { section: None, rows: None, tier: Some(TierId(7)) })
        );
    }

    #[test]
    fn an_incomplete_or_misspelled_selection_selects_nothing() {
        for (query, field) in [
            ("", "section"),
            ("section=", "section"),
            ("firstRow=1&lastRow=2", "section"),
            ("ticketTierId=7&firstRow=1&lastRow=2", "firstRow"),
            ("section=vip&firstRow=1", "lastRow"),
            ("section=vip&lastRow=1", "firstRow"),
            ("section=vip&firstRow=2&lastRow=1", "lastRow"),
            ("section=vip&firstRow=x&lastRow=1", "firstRow"),
            ("section=vip&row=2", "row"),
            ("section=vip&firstrow=2&lastRow=2", "firstrow"),
            ("ticketTierId=vip", "ticketTierId"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(field), "{query}: {error}");
        }
    }
}
