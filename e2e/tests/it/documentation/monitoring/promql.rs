//! What a query selects and groups by.

use anyhow::{Result, anyhow};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

#[derive(Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// The labels of `by`, `without`, `on` and `ignoring`.
    pub grouping: Vec<String>,
}

#[derive(Debug)]
pub struct Selector {
    /// Empty if the selector names none.
    pub metric: String,
    /// Pairs of label and value or pattern.
    pub matchers: Vec<(String, String)>,
}

impl Query {
    pub fn parse(text: &str) -> Result<Self> {
        let expr = parser::parse(text).map_err(|error| anyhow!("{error}: {text}"))?;
        let mut query = Self::default();
        walk_expr(&mut query, &expr).map_err(|never| match never {})?;
        Ok(query)
    }

    fn add_selector(&mut self, selector: &VectorSelector) {
        let matchers =
            selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten());
        let matchers = matchers.map(|it| (it.name.clone(), pattern(it))).collect();
        self.selectors.push(Selector { metric: selector.name.clone().unwrap_or_default(), matchers });
    }

    fn add_grouping(&mut self, modifier: Option<&LabelModifier>) {
        self.grouping.extend(modifier.into_iter().flat_map(|it| it.labels().labels.clone()));
    }
}

fn pattern(matcher: &Matcher) -> String {
    match &matcher.op {
        // The parser anchors patterns.
        MatchOp::Re(regex) | MatchOp::NotRe(regex) => {
            let text = regex.as_str().trim_start_matches("^(?:").trim_end_matches(")$");
            text.to_owned()
        }
        MatchOp::Equal | MatchOp::NotEqual => matcher.value.clone(),
    }
}

impl ExprVisitor for Query {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.add_selector(selector),
            Expr::MatrixSelector(selector) => self.add_selector(&selector.vs),
            Expr::Aggregate(aggregate) => self.add_grouping(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                self.add_grouping(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
            }
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_selectors_of_a_query_are_found() -> Result<()> {
        let query = Query::parse(
            r#"time() - max by (a) (up{job=~"api|worker"} > 0) > 5 unless on (b) sum(rate(x_total{y="z"}[5m])) == 1"#,
        )?;
        let found: Vec<_> = query.selectors.iter().map(|it| (it.metric.as_str(), &it.matchers[0])).collect();
        let pair = |label: &str, value: &str| (label.to_owned(), value.to_owned());
        assert_eq!(found, [("up", &pair("job", "api|worker")), ("x_total", &pair("y", "z"))]);
        let mut grouping = query.grouping;
        grouping.sort_unstable();
        assert_eq!(grouping, ["a", "b"]);
        Ok(())
    }
}
