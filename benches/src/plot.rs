//! The goals that are ratios, as bars in an SVG: how far ours is from the other, and where the goal stands.

use std::fmt::Write;

use crate::report::{Bound, CaseResult};

/// Pixels: of a row, of the names before the bars, of the bars, of the whole beside them.
const ROW: f64 = 22.0;
const NAMES: f64 = 330.0;
const BARS: f64 = 460.0;
const MARGIN: f64 = 40.0;
/// What the scale, which is logarithmic, begins and ends with, as powers of two.
const LOWEST: f64 = -2.0;
const HIGHEST: f64 = 5.0;

fn x(ratio: f64) -> f64 {
    let power = ratio.max(f64::MIN_POSITIVE).log2().clamp(LOWEST, HIGHEST);
    NAMES + (power - LOWEST) / (HIGHEST - LOWEST) * BARS
}

/// A bar for each goal of the kind "ours through another".
pub fn bars(cases: &[CaseResult]) -> String {
    let rows = cases
        .iter()
        .flat_map(|case| case.goals.iter().map(move |goal| (case, goal)));
    let rows: Vec<_> = rows
        .filter_map(|(case, goal)| match goal.bound {
            Bound::AtLeast(bound) => Some((format!("{} {}", case.name, goal.what), goal, bound)),
            Bound::AtMost(_) => None,
        })
        .collect();
    let bottom = MARGIN + rows.len() as f64 * ROW;
    let (width, height) = (NAMES + BARS + MARGIN, bottom + MARGIN);
    let mut out = String::new();
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="10" y="20">Ours through the other (logarithmic); the line across a bar is the goal</text>"##
    );
    let powers = LOWEST as i32..=HIGHEST as i32;
    for ratio in powers.map(|power| 2_f64.powi(power)) {
        let at = x(ratio);
        let colour = if ratio == 1.0 { "#444" } else { "#ddd" };
        let _ = writeln!(
            out,
            r##"<line x1="{at:.1}" x2="{at:.1}" y1="{MARGIN}" y2="{bottom}" stroke="{colour}"/>
<text x="{at:.1}" y="{:.1}" text-anchor="middle">{ratio}</text>"##,
            bottom + 16.0
        );
    }
    for (index, (name, goal, bound)) in rows.iter().enumerate() {
        let top = MARGIN + index as f64 * ROW;
        let (from, to) = (x(1.0), x(goal.measured));
        let colour = if goal.met { "#3a8a4d" } else { "#c05030" };
        let _ = writeln!(
            out,
            r##"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}: {:.2}</text>
<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>
<line x1="{goal_x:.1}" x2="{goal_x:.1}" y1="{:.1}" y2="{:.1}" stroke="#000" stroke-width="2"/>"##,
            NAMES - 8.0,
            top + 15.0,
            goal.measured,
            from.min(to),
            top + 4.0,
            (to - from).abs(),
            ROW - 8.0,
            top + 1.0,
            top + ROW - 1.0,
            goal_x = x(*bound),
        );
    }
    out.push_str("</svg>\n");
    out
}
