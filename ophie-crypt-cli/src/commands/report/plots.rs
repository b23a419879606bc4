//! Plots as inline SVG: bars, and a week of hours.
//!
//! Invariant: what a plot shows stands in words beside it or in its title, and colour alone says nothing. Absent: counting.

use maud::{Markup, html};

use super::{
    page::grouped,
    section::{Bars, Week},
};

const WIDTH: i64 = 720;
const HEIGHT: i64 = 150;
/// Above the bars, for the scale, and below, for their names.
const ABOVE: i64 = 14;
const BELOW: i64 = 20;
/// Bars so few that each has its name.
const NAMED: usize = 8;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

pub(super) fn bars(plot: &Bars) -> Markup {
    let most = plot
        .bars
        .iter()
        .map(|(_, [low, high])| low.saturating_add(*high))
        .max()
        .unwrap_or(0);
    let many = i64::try_from(plot.bars.len()).unwrap_or(i64::MAX).max(1);
    let step = WIDTH.div_euclid(many).max(2);
    let room = HEIGHT.saturating_sub(ABOVE).saturating_sub(BELOW);
    let floor = HEIGHT.saturating_sub(BELOW);
    // What is not nothing is seen.
    let tall = |count: i64| match count {
        0 => 0,
        count => count
            .saturating_mul(room)
            .checked_div(most)
            .unwrap_or(0)
            .max(2),
    };
    let few = plot.bars.len() <= NAMED;
    let [lower, upper] = plot.parts;
    html! {
        figure {
            figcaption { (plot.caption) @if most > 0 { "; at most " (grouped(most)) } }
            @if most == 0 {
                p class="none" { "none" }
            } @else {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(plot.caption) {
                    line class="axis" x1="0" y1=(floor) x2=(WIDTH) y2=(floor) {}
                    @for (at, (name, [low, high])) in (0_i64..).zip(&plot.bars) {
                        @let x = at.saturating_mul(step);
                        @let wide = step.saturating_sub(if few { 16 } else { 2 }).max(1);
                        @let (low_tall, high_tall) = (tall(*low), tall(*high));
                        @let top = floor.saturating_sub(low_tall);
                        g {
                            title {
                                (name) ": " (grouped(*low)) " " (lower)
                                @if !upper.is_empty() { ", " (grouped(*high)) " " (upper) }
                            }
                            rect class="low" x=(x) y=(top) width=(wide) height=(low_tall) {}
                            @if *high > 0 {
                                rect class="high" x=(x) y=(top.saturating_sub(high_tall).max(0)) width=(wide) height=(high_tall) {}
                            }
                        }
                        @if few {
                            text class="value" x=(x.saturating_add(wide.div_euclid(2))) y=(top.saturating_sub(4)) { (grouped(low.saturating_add(*high))) }
                            text class="mid" x=(x.saturating_add(wide.div_euclid(2))) y=(HEIGHT.saturating_sub(5)) { (name) }
                        }
                    }
                    @if !few {
                        @if let (Some((first, _)), Some((last, _))) = (plot.bars.first(), plot.bars.last()) {
                            text x="0" y=(HEIGHT.saturating_sub(5)) { (first) }
                            text class="end" x=(many.saturating_mul(step)) y=(HEIGHT.saturating_sub(5)) { (last) }
                        }
                    }
                }
                @if !upper.is_empty() {
                    p class="legend" { span class="key low" {} (lower) span class="key high" {} (upper) }
                }
            }
        }
    }
}

/// A row for each day, a cell for each hour; usual hours have a line below.
pub(super) fn week(plot: &Week) -> Markup {
    const CELL: i64 = 27;
    const TALL: i64 = 20;
    const LEFT: i64 = 40;
    let most = plot
        .counts
        .iter()
        .map(|(.., count)| *count)
        .max()
        .unwrap_or(0);
    let count_at = |day: u8, hour: u8| {
        let found = plot.counts.iter().find(|(d, h, _)| (*d, *h) == (day, hour));
        found.map_or(0, |(.., count)| *count)
    };
    let level = |count: i64| match count {
        0 => 0,
        count => count
            .saturating_mul(4)
            .checked_div(most)
            .unwrap_or(0)
            .clamp(1, 4),
    };
    html! {
        figure {
            figcaption { (plot.caption) @if most > 0 { "; at most " (grouped(most)) " in one hour of the week" } }
            @if most == 0 {
                p class="none" { "none" }
            } @else {
                svg viewBox="0 0 720 178" role="img" aria-label=(plot.caption) {
                    @for hour in (0_u8..24).step_by(3) {
                        text x=(LEFT.saturating_add(i64::from(hour).saturating_mul(CELL))) y="12" { (hour) ":00" }
                    }
                    @for (day, name) in (0_u8..).zip(DAYS) {
                        @let y = i64::from(day).saturating_mul(TALL.saturating_add(2)).saturating_add(20);
                        text x="0" y=(y.saturating_add(14)) { (name) }
                        @for hour in 0_u8..24 {
                            @let (count, x) = (count_at(day, hour), i64::from(hour).saturating_mul(CELL).saturating_add(LEFT));
                            @let usual = plot.usual.contains(&(day, hour));
                            g {
                                title { (name) " " (hour) ":00: " (grouped(count)) @if !usual { ", outside usual hours" } }
                                rect class={ "heat" (level(count)) @if count > 0 && !usual { " late" } } x=(x) y=(y) width=(CELL.saturating_sub(2)) height=(TALL) {}
                                @if usual { rect class="usual" x=(x) y=(y.saturating_add(TALL).saturating_sub(3)) width=(CELL) height="3" {} }
                            }
                        }
                    }
                }
                p class="legend" {
                    span class="key heat1" {} "few" span class="key heat4" {} "many" span class="key usual" {} "usual hours" span class="key late" {} "outside them"
                }
            }
        }
    }
}
