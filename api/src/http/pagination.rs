//! Pages of a list.

use serde::{Deserialize, Serialize};
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use utoipa::{IntoParams, ToSchema};

use crate::http::extract::FieldErrors;
use crate::http::problem::Problem;

/// The requested page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Page number, starting at 1.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000, default = 1, example = 1)]
    page: Option<String>,
    /// Items per page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 10, example = 10)]
    limit: Option<String>,
}

/// A valid page number and page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    number: i64,
    pub limit: i64,
}

impl PageParams {
    const MAX_PAGE: i64 = 1_000_000_000;
    const MAX_LIMIT: i64 = 1000;

    pub fn parse(self) -> Result<Page, Problem> {
        let mut fields = FieldErrors::default();
        let number = fields.check("page", parse_number(self.page, 1, Self::MAX_PAGE));
        let limit = fields.check("limit", parse_number(self.limit, 10, Self::MAX_LIMIT));
        let page = (|| Some(Page { number: number?, limit: limit? }))();
        fields.finish(page)
    }
}

fn parse_number(text: Option<String>, default: i64, max: i64) -> Result<i64, String> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("must be a number from 1 to {max}"))
}

impl Page {
    /// The first page, as long as a page may be.
    pub const LONGEST: Self = Self { number: 1, limit: PageParams::MAX_LIMIT };

    pub fn offset(self) -> i64 {
        (self.number - 1) * self.limit
    }

    /// Combines the items of this page with the size of the whole list.
    pub fn of<T: ToSchema>(self, data: Vec<T>, total: i64) -> Paged<T> {
        let total_pages = total / self.limit + i64::from(total % self.limit > 0);
        Paged { data, page: self.number, limit: self.limit, total, total_pages }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Paged<T: ToSchema> {
    /// The items of this page, in the order of the list.
    #[schema(schema_with = items::<T>)]
    data: Vec<T>,
    /// Number of this page.
    #[schema(example = 1)]
    page: i64,
    /// Maximum number of items per page.
    #[schema(example = 10)]
    limit: i64,
    /// Number of items in the whole list.
    #[schema(example = 3)]
    total: i64,
    /// Number of pages.
    #[schema(example = 1)]
    total_pages: i64,
}

/// The derived schema would repeat that of the items, and generated clients would have two types for one thing.
fn items<T: ToSchema>() -> Array {
    let description = Some("The items of this page, in the order of the list.");
    ArrayBuilder::new().items(Ref::from_schema_name(T::name())).description(description).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_pages_is_rounded_up() {
        let page = |total| Page { number: 1, limit: 10 }.of(Vec::<String>::new(), total).total_pages;
        assert_eq!([page(0), page(1), page(10), page(11)], [0, 1, 1, 2]);
        assert_eq!(Page { number: 3, limit: 10 }.offset(), 20);
    }

    #[test]
    fn a_page_or_limit_out_of_range_is_rejected() {
        let parse = |page: &str, limit: &str| {
            PageParams { page: Some(page.to_owned()), limit: Some(limit.to_owned()) }.parse().map_err(drop)
        };
        for (page, limit) in [
            ("0", "10"),
            ("-1", "10"),
            ("99999999999999999999", "10"),
            ("1", "0"),
            ("1", "1000000"),
            ("", "1"),
        ] {
            assert_eq!(parse(page, limit), Err(()), "page {page:?}, limit {limit:?}");
        }
        assert_eq!(parse("1000000000", "1000"), Ok(Page { number: 1_000_000_000, limit: 1000 }));
        assert_eq!(
            PageParams { page: None, limit: None }.parse().map_err(drop),
            Ok(Page { number: 1, limit: 10 })
        );
    }
}
