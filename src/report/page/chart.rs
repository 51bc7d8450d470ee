//! Room `report`: charts as inline SVG. No chart is the only place of its figures.

use std::fmt::Write as _;

use super::markup::duration;

/// Size of the drawing, in its own units.
const WIDTH: f64 = 440.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 434.0;
const TOP: f64 = 10.0;

/// A logarithmic axis over whole decades.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decades {
    least: f64,
    most: f64,
}

impl Decades {
    /// The decades that all of these lie in; `None` where none is above zero.
    fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let logs = values.filter(|&value| value > 0.0 && value.is_finite()).map(f64::log10);
        let (least, most) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), log| {
            (least.min(log), most.max(log))
        });
        let (least, most) = ((least + 1e-9).floor(), (most - 1e-9).ceil());
        least.is_finite().then(|| Self { least, most: most.max(least + 1.0) })
    }

    /// Where a value lies, 0 to 1.
    fn place(self, value: f64) -> f64 {
        let log = value.max(f64::MIN_POSITIVE).log10();
        ((log - self.least) / (self.most - self.least)).clamp(0.0, 1.0)
    }

    /// The whole decades, ascending.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let step = move |tick: &f64| (*tick < self.most - 0.5).then_some(tick + 1.0);
        std::iter::successors(Some(self.least), step).map(|log| 10_f64.powf(log))
    }
}

/// A whole decade without its zeroes behind the point: `10 ms`.
fn decade(seconds: f64) -> String {
    let shown = duration(seconds);
    let Some((figure, unit)) = shown.split_once('\u{a0}') else { return shown };
    let figure = if figure.contains('.') { figure.trim_end_matches('0') } else { figure };
    format!("{}\u{a0}{unit}", figure.trim_end_matches('.'))
}

/// One curve of [`distribution`].
pub(super) struct Curve {
    /// A class of the style sheet, which sets colour and dashes.
    pub(super) class: &'static str,
    /// End of each step in seconds and how many are in it.
    pub(super) steps: Vec<(f64, u64)>,
}

/// How latencies are spread: the share of all messages in each step of a logarithmic axis. `title` is
/// HTML; the two `marks` have a word and a
/// latency each.
pub(super) fn distribution(title: &str, curves: &[Curve], marks: &[(&str, f64)]) -> String {
    const BOTTOM: f64 = 150.0;
    let factor = 10_f64.powf(0.1);
    let ends = curves.iter().flat_map(|curve| &curve.steps).map(|&(end, _)| end);
    let Some(axis) = Decades::around(ends.flat_map(|end| [end / factor, end])) else {
        return String::new();
    };
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * axis.place(seconds);
    let highest = curves.iter().flat_map(shares).map(|(_, share)| share).fold(0.0, f64::max);
    let y = |share: f64| BOTTOM - (BOTTOM - TOP) * share / highest;
    let mut svg = open(title, 178.0);
    for share in [0.0, highest / 2.0, highest] {
        let percent = share * 100.0;
        let label = format!("{percent:.0}\u{a0}%");
        level(&mut svg, y(share), &label);
    }
    for tick in axis.ticks() {
        let at = x(tick);
        let anchor = if at > RIGHT - 1.0 { "end" } else { "mid" };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>\
             <text class=\"{anchor}\" x=\"{at:.1}\" y=\"{:.0}\">{}</text>",
            BOTTOM + 17.0,
            decade(tick)
        );
    }
    for curve in curves {
        let (mut path, mut right) = (String::new(), f64::NEG_INFINITY);
        for (end, share) in shares(curve) {
            let (from, to, up) = (x(end / factor), x(end), y(share));
            if from - right > 0.5 {
                let down = if path.is_empty() { String::new() } else { format!("V{BOTTOM}") };
                let _ = write!(path, "{down}M{from:.1} {BOTTOM}");
            }
            let _ = write!(path, "V{up:.1}H{to:.1}");
            right = to;
        }
        let _ = write!(path, "V{BOTTOM}");
        let _ = write!(svg, "<path class=\"curve {}\" d=\"{path}\"/>", curve.class);
    }
    for ((name, seconds), line) in marks.iter().zip([10.0, 26.0]) {
        let at = x(*seconds);
        let anchor = if at > WIDTH / 2.0 { "end" } else { "start" };
        let beside = if at > WIDTH / 2.0 { at - 4.0 } else { at + 4.0 };
        let _ = write!(
            svg,
            "<path class=\"mark\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>\
             <text class=\"{anchor}\" x=\"{beside:.1}\" y=\"{:.0}\">{name}</text>",
            TOP + line
        );
    }
    svg + "</svg>"
}

/// The steps of a curve with their shares of all.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn shares(curve: &Curve) -> impl Iterator<Item = (f64, f64)> {
    let all: u64 = curve.steps.iter().map(|&(_, count)| count).sum();
    curve.steps.iter().map(move |&(end, count)| (end, count as f64 / all.max(1) as f64))
}

/// A window of [`hour`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// How long it was, in seconds.
    pub(super) seconds: f64,
    /// Whether its latencies may be trusted.
    pub(super) valid: bool,
    /// p50, p99, p99.9 and the longest, in seconds.
    pub(super) figures: [Option<f64>; 4],
    /// Messages a second that came out.
    pub(super) rate: f64,
}

/// Classes of the curves of [`hour`], in the order of [`Window::figures`].
pub(super) const CURVES: [&str; 4] = ["p50", "p99", "p999", "max"];

/// What windows showed, oldest first: quantiles on a logarithmic axis, and below it the rate.
pub(super) fn hour(title: &str, windows: &[Window]) -> String {
    const BOTTOM: f64 = 140.0;
    const RATE_TOP: f64 = 160.0;
    const RATE_BOTTOM: f64 = 182.0;
    let figures = windows.iter().flat_map(|window| window.figures.into_iter().flatten());
    let Some(axis) = Decades::around(figures) else { return String::new() };
    let length: f64 = windows.iter().map(|window| window.seconds).sum();
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * seconds / length.max(1e-9);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * axis.place(value);
    let rates = windows.iter().map(|window| window.rate);
    let most = rates.fold(0.0, f64::max);
    let mut svg = open(title, 206.0);
    for tick in axis.ticks() {
        level(&mut svg, y(tick), &decade(tick));
    }
    let (mut paths, mut rate, mut at) = ([const { String::new() }; 4], String::new(), 0.0);
    for window in windows {
        let (from, to) = (x(at), x(at + window.seconds));
        at += window.seconds;
        if !window.valid {
            let width = (to - from).max(0.5);
            let _ = write!(
                svg,
                "<rect class=\"invalid\" x=\"{from:.2}\" y=\"{TOP}\" width=\"{width:.2}\" \
                 height=\"{}\"/>",
                BOTTOM - TOP
            );
        }
        for (path, figure) in paths.iter_mut().zip(window.figures) {
            if let Some(figure) = figure.filter(|&figure| figure > 0.0) {
                let up = y(figure);
                // One beside a window without a figure begins anew.
                let joins = path.ends_with(&format!("H{from:.2}"));
                let _ = write!(path, "{}{from:.2} {up:.1}H{to:.2}", if joins { 'L' } else { 'M' });
            }
        }
        let up = RATE_BOTTOM - (RATE_BOTTOM - RATE_TOP) * window.rate / most.max(1e-9);
        let begin = if rate.is_empty() { 'M' } else { 'L' };
        let _ = write!(rate, "{begin}{from:.2} {up:.1}H{to:.2}");
    }
    for (path, class) in paths.iter().zip(CURVES).rev() {
        let _ = write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
    }
    let _ = write!(
        svg,
        "<path class=\"line rate\" d=\"{rate}\"/><path class=\"axis\" d=\"M{LEFT} {RATE_BOTTOM}H{RIGHT}\"/>\
         <text class=\"end\" x=\"{:.0}\" y=\"{RATE_TOP}\" dy=\"6\">{most:.0}/s</text>\
         <text class=\"start\" x=\"{LEFT}\" y=\"201\">{} ago</text>\
         <text class=\"end\" x=\"{RIGHT}\" y=\"201\">now</text></svg>",
        LEFT - 6.0,
        duration(length)
    );
    svg
}

/// A bar from one latency to another on a logarithmic axis that both ends of `of` are on.
pub(super) fn bar((from, to): (f64, f64), of: (f64, f64)) -> String {
    let Some(axis) = Decades::around([of.0, of.1].into_iter()) else { return String::new() };
    let (left, right) = (axis.place(from) * 100.0, axis.place(to) * 100.0);
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"rail\" width=\"100\" height=\"8\"/>\
         <rect class=\"span\" x=\"{left:.1}\" width=\"{:.1}\" height=\"8\"/></svg>",
        (right - left).max(1.0)
    )
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    )
}

/// A line across with its label at the left.
fn level(svg: &mut String, y: f64, label: &str) {
    let _ = write!(
        svg,
        "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
         <text class=\"end\" x=\"{:.0}\" y=\"{y:.1}\" dy=\"4\">{label}</text>",
        LEFT - 6.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_whole_decades() {
        let axis = Decades::around([0.000_3, 0.02].into_iter()).unwrap();
        let ticks: Vec<_> = axis.ticks().map(decade).collect();
        assert_eq!(ticks, ["100\u{a0}µs", "1\u{a0}ms", "10\u{a0}ms", "100\u{a0}ms"]);
        assert!((axis.place(0.001) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(Decades::around([0.0, -1.0].into_iter()), None);
        let exact = Decades::around([0.001, 0.01].into_iter()).unwrap();
        assert_eq!(exact.ticks().count(), 2, "the ends of a decade are on it");
    }

    #[test]
    fn what_is_not_there_is_not_drawn() {
        assert_eq!(distribution("x", &[Curve { class: "a", steps: Vec::new() }], &[]), "");
        assert_eq!(hour("x", &[Window { seconds: 10.0, ..Window::default() }]), "");
        let one = Window {
            seconds: 10.0,
            valid: true,
            figures: [Some(0.001), None, None, Some(0.2)],
            rate: 5.0,
        };
        let svg = hour("x", &[one, Window { valid: false, ..one }, one]);
        assert_eq!(svg.matches("class=\"invalid\"").count(), 1);
        assert!(svg.contains("<path class=\"line p99\" d=\"\"/>"), "{svg}");
    }
}
