//! Test support: queries taken apart.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, LabelModifier, VectorSelector, parse};

use super::board;

/// Stands for `$__rate_interval`: a duration that nobody writes by hand.
pub(crate) const RATE_INTERVAL: Duration = Duration::from_secs(3_667);
/// Stands for `$__range`.
const RANGE: Duration = Duration::from_secs(3_671);

/// What stands around a selector, from the outside in.
#[derive(Clone, Debug)]
pub(crate) enum Around {
    /// A function.
    Call(&'static str),
    /// An aggregation by these labels.
    By(Vec<String>),
}

/// A selector in a query.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) selector: &'a VectorSelector,
    /// Of a range vector.
    pub(crate) range: Option<Duration>,
    pub(crate) around: Vec<Around>,
}

impl Found<'_> {
    /// The name of the series.
    pub(crate) fn name(&self) -> &str {
        self.selector.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.selector.matchers.matchers
    }

    /// Whether a label is chosen by the variable of the same name.
    pub(crate) fn is_chosen(&self, label: &str) -> bool {
        self.matchers().iter().any(|matcher| {
            matches!(matcher.op, MatchOp::Re(_))
                && (matcher.name.as_str(), matcher.value.as_str()) == (label, label)
        })
    }

    /// The function right around it.
    pub(crate) fn function(&self) -> Option<&'static str> {
        match self.around.last() {
            Some(Around::Call(name)) => Some(name),
            _ => None,
        }
    }
}

/// A query with every variable filled in by something that shows where it went: a variable of the
/// dashboard by its own name, a number where it is one.
pub(crate) fn filled(query: &str) -> String {
    let mut values: BTreeMap<_, _> =
        board::named(query).into_iter().map(|name| (name.clone(), name)).collect();
    values.insert("objective".to_owned(), "0.25".to_owned());
    for (name, duration) in [("__rate_interval", RATE_INTERVAL), ("__range", RANGE)] {
        values.insert(name.to_owned(), format!("{}s", duration.as_secs()));
    }
    values.insert("__range_s".to_owned(), RANGE.as_secs().to_string());
    board::fill(query, &values)
}

/// Parses a query whose variables are filled in.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn parsed(query: &str) -> Result<Expr, String> {
    parse(&filled(query)).map_err(|error| format!("{query} is no PromQL: {error}"))
}

/// Every selector in a query.
pub(crate) fn selectors(expr: &Expr) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    walk(expr, &mut Vec::new(), &mut found);
    found
}

fn walk<'a>(expr: &'a Expr, around: &mut Vec<Around>, found: &mut Vec<Found<'a>>) {
    match expr {
        Expr::Aggregate(aggregate) => {
            let labels = match &aggregate.modifier {
                Some(LabelModifier::Include(labels)) => labels.labels.clone(),
                _ => Vec::new(),
            };
            around.push(Around::By(labels));
            walk(&aggregate.expr, around, found);
            around.pop();
        }
        Expr::Unary(unary) => walk(&unary.expr, around, found),
        Expr::Binary(binary) => {
            walk(&binary.lhs, around, found);
            walk(&binary.rhs, around, found);
        }
        Expr::Paren(paren) => walk(&paren.expr, around, found),
        Expr::Subquery(subquery) => walk(&subquery.expr, around, found),
        Expr::Call(call) => {
            around.push(Around::Call(call.func.name));
            for argument in &call.args.args {
                walk(argument, around, found);
            }
            around.pop();
        }
        Expr::VectorSelector(selector) => {
            found.push(Found { selector, range: None, around: around.clone() });
        }
        Expr::MatrixSelector(matrix) => {
            let range = Some(matrix.range);
            found.push(Found { selector: &matrix.vs, range, around: around.clone() });
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}
