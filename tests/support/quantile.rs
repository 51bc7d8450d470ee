//! Test support: quantiles of figures that are all there.

/// The smallest of the ascending figures that this share of all stay within.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks among millions, nanoseconds of minutes"
)]
pub(crate) fn at(ascending: &[i64], share: f64) -> f64 {
    // The product may be a little above the whole number that it is meant to be.
    let rank = (share * ascending.len() as f64 - 1e-6).ceil().max(1.0) as usize;
    ascending[rank - 1] as f64
}
